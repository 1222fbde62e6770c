/* libssh2, driven over standard input: see interop/program.py for the commands. */
#include <libssh2.h>

#include "../c/client.h"

struct forward {
    LIBSSH2_LISTENER *listener;
    char host[256];
    int port, target;
};

static LIBSSH2_SESSION *session;
static int connection = -1;
static struct forward forwards[16];
static int forward_count;

int pair_read(struct pair *pair)
{
    ssize_t n = libssh2_channel_read(pair->channel, pair->down, PIECE);
    if (n > 0) {
        pair->down_from = 0;
        pair->down_to = n;
        return 1;
    }
    if (n < 0 && n != LIBSSH2_ERROR_EAGAIN)
        return -1;
    if (libssh2_channel_eof(pair->channel)) {
        pair->channel_ended = 1;
        return 1;
    }
    return 0;
}

int pair_write(struct pair *pair)
{
    if (pair->up_from == pair->up_to) {
        int result = libssh2_channel_send_eof(pair->channel);
        pair->eof_sent = result == 0;
        return result == 0 ? 1 : result == LIBSSH2_ERROR_EAGAIN ? 0 : -1;
    }
    ssize_t n = libssh2_channel_write(pair->channel, pair->up + pair->up_from, pair->up_to - pair->up_from);
    if (n < 0)
        return n == LIBSSH2_ERROR_EAGAIN ? 0 : -1;
    pair->up_from += n;
    return n > 0;
}

int pair_close(struct pair *pair)
{
    return libssh2_channel_free(pair->channel) != LIBSSH2_ERROR_EAGAIN; /* closes it first */
}

static int accept_all(void)
{
    int accepted = 0;
    for (int i = 0; i < forward_count; i++) {
        LIBSSH2_CHANNEL *channel;
        while (forwards[i].listener && (channel = libssh2_channel_forward_accept(forwards[i].listener))) {
            if (join(channel, forwards[i].target))
                libssh2_channel_free(channel);
            accepted = 1;
        }
    }
    return accepted;
}

static int log_in(char **words, char *answer)
{
    connection = connect_to(words[1], atoi(words[2]));
    session = libssh2_session_init();
    if (connection < 0 || libssh2_session_handshake(session, connection))
        return 1;
    if (!libssh2_userauth_publickey_fromfile(session, words[3], NULL, words[4], NULL))
        return 0;
    if (!strstr(words[4], "rsa") || libssh2_version(0x010b00))
        return 1;
    strcpy(answer, "libssh2 before 1.11 signs with SHA-1 (`ssh-rsa`) only, which the gateway refuses: take an Ed25519 key");
    return 2;
}

static int run(const char *command, char *answer)
{
    static char output[ANSWER];
    size_t size = 0;
    LIBSSH2_CHANNEL *channel = libssh2_channel_open_session(session);
    if (!channel || libssh2_channel_exec(channel, command))
        return 1;
    for (ssize_t n; (n = libssh2_channel_read(channel, output + size, ANSWER - size)) > 0;)
        size += n;
    libssh2_channel_close(channel);
    int written = sprintf(answer, "%d ", libssh2_channel_get_exit_status(channel));
    hex(output, size, answer + written);
    libssh2_channel_free(channel);
    return 0;
}

static int listen_at(const char *host, int port, int target, char *answer)
{
    struct forward *forward = &forwards[forward_count];
    int bound = port;
    forward->listener = libssh2_channel_forward_listen_ex(session, host, port, port ? NULL : &bound, PAIRS);
    if (!forward->listener)
        return 1;
    snprintf(forward->host, sizeof forward->host, "%s", host);
    forward->port = bound;
    forward->target = target;
    forward_count++;
    sprintf(answer, "%d", bound);
    return 0;
}

static int cancel(const char *host, int port)
{
    for (int i = 0; i < forward_count; i++) {
        LIBSSH2_LISTENER *listener = forwards[i].listener;
        if (listener && forwards[i].port == port && !strcmp(forwards[i].host, host)) {
            forwards[i].listener = NULL;
            return libssh2_channel_forward_cancel(listener);
        }
    }
    return 1;
}

static int command(char *line, char **words, char *answer)
{
    if (!strcmp(words[0], "login"))
        return log_in(words, answer);
    if (!strcmp(words[0], "exec"))
        return run(line + strlen("exec "), answer);
    if (!strcmp(words[0], "forward"))
        return listen_at(words[1], atoi(words[2]), atoi(words[3]), answer);
    if (!strcmp(words[0], "cancel"))
        return cancel(words[1], atoi(words[2]));
    if (!strcmp(words[0], "direct")) {
        void *channel = libssh2_channel_direct_tcpip_ex(session, words[1], atoi(words[2]), "127.0.0.1", 1);
        return !channel || join(channel, atoi(words[3]));
    }
    libssh2_session_disconnect(session, "");
    libssh2_session_free(session);
    close(connection);
    return 0;
}

int obey(char *line, char **words, char *answer)
{
    if (!strcmp(words[0], "rekey")) {
        strcpy(answer, "libssh2 has no call that starts a key exchange");
        return 2;
    }
    if (session)
        libssh2_session_set_blocking(session, 1);
    int failed = command(line, words, answer);
    if (failed && failed != 2) {
        char *text = NULL;
        libssh2_session_last_error(session, &text, NULL, 0);
        snprintf(answer, ANSWER, "%s", text ? text : "no reason given");
    }
    if (strcmp(words[0], "quit"))
        libssh2_session_set_blocking(session, 0);
    return failed;
}

int main(void)
{
    printf("ready libssh2 %s\n", libssh2_version(0));
    fflush(stdout);
    for (;;) {
        int moved = session ? accept_all() | step_all() : 0;
        int out = session && (libssh2_session_block_directions(session) & LIBSSH2_SESSION_BLOCK_OUTBOUND);
        if (wait_for(connection, out, moved ? 0 : 50) && !read_command())
            return 0;
    }
}
