/* What the two C clients share: lines in, sockets, and the pairs of a channel with a local connection. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS = 1024, PIECE = 32768, WORDS = 8, ANSWER = 65536 };

struct pair {
    void *channel;
    int local;
    char up[PIECE], down[PIECE];
    int up_from, up_to, down_from, down_to;
    int local_ended, eof_sent, channel_ended, local_shut;
};

static struct pair *pairs[PAIRS];
static int count;

static int connect_to(const char *host, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || connect(fd, (void *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    return fd;
}

static int join(void *channel, int port)
{
    int local = connect_to("127.0.0.1", port);
    if (local < 0 || count == PAIRS)
        return -1;
    fcntl(local, F_SETFL, O_NONBLOCK);
    pairs[count] = calloc(1, sizeof **pairs);
    pairs[count]->channel = channel;
    pairs[count++]->local = local;
    return 0;
}

static void part(int index)
{
    close(pairs[index]->local);
    free(pairs[index]);
    pairs[index] = pairs[--count];
}

/* Between channel and pair: each returns 1 if something moved, 0 if not, -1 if the channel is gone. */
int pair_read(struct pair *pair);
int pair_write(struct pair *pair);
int pair_close(struct pair *pair);

static int step(struct pair *pair)
{
    int moved = 0;
    if (pair->down_from < pair->down_to) {
        ssize_t n = write(pair->local, pair->down + pair->down_from, pair->down_to - pair->down_from);
        if (n < 0 && errno != EAGAIN)
            return -1;
        if (n > 0) {
            pair->down_from += n;
            moved = 1;
        }
    } else if (!pair->channel_ended) {
        int n = pair_read(pair);
        if (n < 0)
            return -1;
        moved |= n;
    } else if (!pair->local_shut) {
        pair->local_shut = 1;
        shutdown(pair->local, SHUT_WR);
        moved = 1;
    }
    if (pair->up_from == pair->up_to && !pair->local_ended) {
        ssize_t n = read(pair->local, pair->up, PIECE);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            pair->local_ended = 1;
        pair->up_from = 0;
        pair->up_to = n > 0 ? n : 0;
        moved |= n >= 0;
    }
    if (pair->up_from < pair->up_to || (pair->local_ended && !pair->eof_sent)) {
        int n = pair_write(pair);
        if (n < 0)
            return -1;
        moved |= n;
    }
    return pair->eof_sent && pair->local_shut ? -1 : moved;
}

/* Moves what can be moved, in all pairs. */
static int step_all(void)
{
    int moved = 0;
    for (int i = count - 1; i >= 0; i--) {
        int n = step(pairs[i]);
        if (n < 0 && pair_close(pairs[i]))
            part(i);
        moved |= n > 0;
    }
    return moved;
}

/* Waits until something may move, or a line has come: then it returns 1. */
static int wait_for(int session, int also_out, int milliseconds)
{
    static struct pollfd fds[PAIRS + 2];
    fds[0] = (struct pollfd){.fd = 0, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = session, .events = POLLIN | (also_out ? POLLOUT : 0)};
    for (int i = 0; i < count; i++) {
        struct pair *pair = pairs[i];
        int in = pair->up_from == pair->up_to && !pair->local_ended;
        int out = pair->down_from < pair->down_to;
        fds[i + 2] = (struct pollfd){.fd = in || out ? pair->local : -1, .events = (in ? POLLIN : 0) | (out ? POLLOUT : 0)};
    }
    poll(fds, count + 2, milliseconds);
    return fds[0].revents != 0;
}

static char *hex(const char *bytes, size_t size, char *into)
{
    for (size_t i = 0; i < size; i++)
        sprintf(into + 2 * i, "%02x", (unsigned char)bytes[i]);
    into[2 * size] = 0;
    return into;
}

/* Obeys one command; the answer goes into `answer`, a reason into it if the result is not 0. */
int obey(char *line, char **words, char *answer);

static int read_command(void)
{
    static char line[4096], copy[4096], answer[3 * ANSWER];
    char *words[WORDS] = {0};
    size_t size = 0;
    while (size < sizeof line - 1 && read(0, line + size, 1) == 1 && line[size] != '\n')
        size++;
    line[size] = 0;
    if (!size)
        return 0;
    strcpy(copy, line);
    int number = 0;
    for (char *word = strtok(copy, " "); word && number < WORDS; word = strtok(NULL, " "))
        words[number++] = word;
    answer[0] = 0;
    int failed = obey(line, words, answer);
    printf("%s %s\n", failed == 2 ? "n/a" : failed ? "no" : "ok", answer);
    fflush(stdout);
    return strcmp(line, "quit") != 0;
}
