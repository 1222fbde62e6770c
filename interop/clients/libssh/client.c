/* libssh, driven over standard input: see interop/program.py for the commands. */
#include <libssh/libssh.h>

#include "../c/client.h"

struct forward {
    char host[256];
    int port, target;
};

static ssh_session session;
static struct forward forwards[16];
static int forward_count;

int pair_read(struct pair *pair)
{
    int n = ssh_channel_read_nonblocking(pair->channel, pair->down, PIECE, 0);
    if (n == SSH_ERROR)
        return -1;
    if (n > 0) {
        pair->down_from = 0;
        pair->down_to = n;
        return 1;
    }
    if (ssh_channel_is_eof(pair->channel) || ssh_channel_is_closed(pair->channel)) {
        pair->channel_ended = 1;
        return 1;
    }
    return 0;
}

int pair_write(struct pair *pair)
{
    if (!ssh_channel_is_open(pair->channel))
        return -1;
    uint32_t size = pair->up_to - pair->up_from, window = ssh_channel_window_size(pair->channel);
    if (size == 0) {
        pair->eof_sent = 1;
        return ssh_channel_send_eof(pair->channel) == SSH_OK ? 1 : -1;
    }
    if (window == 0)
        return 0;
    int n = ssh_channel_write(pair->channel, pair->up + pair->up_from, size < window ? size : window);
    if (n == SSH_ERROR)
        return -1;
    pair->up_from += n;
    return n > 0;
}

int pair_close(struct pair *pair)
{
    ssh_channel_close(pair->channel);
    ssh_channel_free(pair->channel);
    return 1;
}

static int accept_one(void)
{
    int port = 0;
    ssh_channel channel = ssh_channel_open_forward_port(session, 0, &port, NULL, NULL);
    if (!channel)
        return 0;
    for (int i = 0; i < forward_count; i++)
        if (forwards[i].port == port && join(channel, forwards[i].target) == 0)
            return 1;
    ssh_channel_free(channel);
    return 1;
}

static int log_in(char **words)
{
    session = ssh_new();
    int no = 0, port = atoi(words[2]);
    uint64_t bytes = strtoull(words[5], NULL, 10);
    ssh_options_set(session, SSH_OPTIONS_PROCESS_CONFIG, &no);
    ssh_options_set(session, SSH_OPTIONS_HOST, words[1]);
    ssh_options_set(session, SSH_OPTIONS_PORT, &port);
    ssh_options_set(session, SSH_OPTIONS_USER, words[3]);
    if (bytes)
        ssh_options_set(session, SSH_OPTIONS_REKEY_DATA, &bytes);
    ssh_key key = NULL;
    if (ssh_pki_import_privkey_file(words[4], NULL, NULL, NULL, &key) != SSH_OK || ssh_connect(session) != SSH_OK)
        return 1;
    int result = ssh_userauth_publickey(session, NULL, key);
    ssh_key_free(key);
    return result != SSH_AUTH_SUCCESS;
}

static int run(const char *command, char *answer)
{
    static char output[ANSWER];
    size_t size = 0;
    ssh_channel channel = ssh_channel_new(session);
    if (ssh_channel_open_session(channel) != SSH_OK || ssh_channel_request_exec(channel, command) != SSH_OK)
        return 1;
    for (int n; (n = ssh_channel_read(channel, output + size, ANSWER - size, 0)) > 0;)
        size += n;
    int written = sprintf(answer, "%d ", ssh_channel_get_exit_status(channel));
    hex(output, size, answer + written);
    ssh_channel_close(channel);
    ssh_channel_free(channel);
    return 0;
}

static int command(char *line, char **words, char *answer)
{
    if (!strcmp(words[0], "login"))
        return log_in(words);
    if (!strcmp(words[0], "exec"))
        return run(line + strlen("exec "), answer);
    if (!strcmp(words[0], "rekey"))
        return 0; /* by SSH_OPTIONS_REKEY_DATA */
    if (!strcmp(words[0], "forward")) {
        struct forward *forward = &forwards[forward_count];
        forward->port = atoi(words[2]);
        forward->target = atoi(words[3]);
        if (ssh_channel_listen_forward(session, words[1], forward->port, forward->port ? NULL : &forward->port) != SSH_OK)
            return 1;
        forward_count++;
        sprintf(answer, "%d", forward->port);
        return 0;
    }
    if (!strcmp(words[0], "cancel"))
        return ssh_channel_cancel_forward(session, words[1], atoi(words[2])) != SSH_OK;
    if (!strcmp(words[0], "direct")) {
        ssh_channel channel = ssh_channel_new(session);
        int result;
        ssh_set_blocking(session, 0); /* the alias may be our own, and its channel must be taken meanwhile */
        while ((result = ssh_channel_open_forward(channel, words[1], atoi(words[2]), "127.0.0.1", 1)) == SSH_AGAIN)
            if (!accept_one() && !step_all())
                wait_for(ssh_get_fd(session), 0, 50);
        return result != SSH_OK || join(channel, atoi(words[3]));
    }
    ssh_disconnect(session);
    return 0;
}

int obey(char *line, char **words, char *answer)
{
    if (session)
        ssh_set_blocking(session, 1);
    int failed = command(line, words, answer);
    if (failed)
        snprintf(answer, ANSWER, "%s", ssh_get_error(session));
    ssh_set_blocking(session, 0);
    return failed;
}

int main(void)
{
    printf("ready libssh %s\n", ssh_version(0));
    fflush(stdout);
    for (;;) {
        int moved = session && ssh_is_connected(session) && (accept_one() | step_all());
        if (wait_for(session ? ssh_get_fd(session) : -1, 0, moved ? 0 : 50) && !read_command())
            return 0;
    }
}
