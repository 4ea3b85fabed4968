/* tunnel_probe - one lane of a tunnel whose frames are whatever the caller writes.
 *
 *   caller --raw bytes--> stdin  --> probe ==TLS==> hub
 *   caller <--lines------ stdout <-- probe <==TLS== hub
 *
 * It connects, says a hello with a right proof over this very channel, and prints one line each:
 *
 *   hello {...}          what it said (--show-hello)
 *   answer {...}         the hub's line
 *   frame HEX            every frame from the hub, with its header
 *   end REASON           "closed" (FIN), "close_notify", or an error's name; it exits then
 *
 * Edge id and secret come from the environment (PROBE_EDGE_ID, PROBE_SECRET), so that no process
 * list shows them.  After the end of stdin it goes on printing until the hub ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/must.h"
#include "buf/chunk.h"
#include "loop/addr.h"
#include "loop/loop.h"
#include "tls/tls.h"
#include "wire/frame.h"
#include "wire/hello.h"
#include "wire/proof.h"

#define PROOF_MARK "@PROOF@"
#define OUT_FULL   (1u << 20) /* ciphertext that waits: stdin is not read meanwhile */

struct probe {
    int fd;
    struct chunk_pool pool;
    struct tls_ctx *ctx; /* owned */
    struct tls *tls;     /* owned */
    bool is_answered;
    bool is_stdin_open;
    uint8_t held[FRAME_HEADER_BYTES + FRAME_PAYLOAD_MAX + ANSWER_MAX]; /* read, not printed yet */
    size_t held_len;
};

struct options {
    const char *address;
    const char *alpn;
    const char *instance;
    const char *session; /* or NULL */
    const char *lane;
    const char *hello; /* or NULL: a line with PROOF_MARK in it */
    bool is_hello_shown;
};

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("tunnel_probe: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

/* --- the connection --------------------------------------------------------------------------- */

static void wait_tls(const struct probe *p)
{
    unsigned wants = tls_wants(p->tls);
    struct pollfd fd = {.fd = p->fd};

    fd.events = (short)((wants & LOOP_READ ? POLLIN : 0) | (wants & LOOP_WRITE ? POLLOUT : 0));
    if (poll(&fd, 1, -1) < 0 && errno != EINTR)
        die("poll: %m");
}

static void end(const struct probe *p, const char *reason)
{
    int error = tls_error(p->tls);

    printf("end %s\n", error ? err_name(error) : reason);
    fflush(stdout);
}

static void connect_to(struct probe *p, const struct options *o)
{
    const char *alpn[] = {o->alpn, NULL};
    struct tls_client_options options = {.versions = TLS_ONLY_13, .alpn = *o->alpn ? alpn : NULL};
    union addr to;
    char why[200] = "";
    enum io io;

    if (addr_parse(&to, o->address) != 0)
        die("%s is no address with a port", o->address);
    p->fd = socket(to.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd < 0 || connect(p->fd, &to.sa, addr_len(&to)) != 0)
        die("%s: %m", o->address);
    if (fcntl(p->fd, F_SETFL, O_NONBLOCK) != 0)
        die("fcntl: %m");
    if (tls_ctx_new_client(&p->ctx, &options, why, sizeof(why)) != 0)
        die("TLS: %s", why);
    if (tls_new_client(&p->tls, p->ctx, &p->pool, p->fd, NULL) != 0)
        die("TLS: out of memory");
    while ((io = tls_handshake(p->tls)) == IO_WAIT)
        wait_tls(p);
    if (io != IO_OK) {
        end(p, "handshake");
        exit(1);
    }
}

static void flush_all(struct probe *p)
{
    enum io io;

    while ((io = tls_flush(p->tls)) == IO_WAIT)
        wait_tls(p);
    if (io != IO_OK) {
        end(p, "closed");
        exit(0);
    }
}

/* --- hello -------------------------------------------------------------------------------------
 */

static const char *from_env(const char *name)
{
    const char *value = getenv(name);

    if (!value)
        die("%s is not in the environment", name);
    return value;
}

static void prove(const struct probe *p, char out[PROOF_TEXT_LEN + 1])
{
    const char *edge_id = from_env("PROBE_EDGE_ID"), *secret = from_env("PROBE_SECRET");
    uint8_t exporter[TLS_EXPORTER_BYTES], message[PROOF_MESSAGE_MAX], proof[PROOF_BYTES];
    size_t n;

    if (tls_exporter(p->tls, exporter) != 0)
        die("no exporter");
    n = proof_message_emit(message, PROOF_EDGE, exporter, edge_id);
    tls_hmac_sha256(secret, strlen(secret), message, n, proof);
    proof_emit(out, proof);
}

/* The line with its newline; the caller's. */
static char *compose_hello(const struct options *o, const char *proof)
{
    const char *mark;

    if (!o->hello)
        return must_printf("{\"version\":1,\"edgeId\":\"%s\",\"instance\":\"%s\",%s%s%s\"lane\":%s,"
                           "\"proof\":\"%s\",\"software\":\"probe\",\"features\":[]}\n",
                           from_env("PROBE_EDGE_ID"), o->instance,
                           o->session ? "\"session\":\"" : "", o->session ? o->session : "",
                           o->session ? "\"," : "", o->lane, proof);
    mark = strstr(o->hello, PROOF_MARK);
    if (!mark)
        return must_printf("%s\n", o->hello);
    return must_printf("%.*s%s%s\n", (int)(mark - o->hello), o->hello, proof,
                       mark + strlen(PROOF_MARK));
}

static void say_hello(struct probe *p, const struct options *o)
{
    char proof[PROOF_TEXT_LEN + 1];
    char *line;

    prove(p, proof);
    line = compose_hello(o, proof);
    if (o->is_hello_shown)
        printf("hello %s", line);
    if (tls_write(p->tls, line, strlen(line)) != IO_OK)
        die("the hello is too long for a record");
    free(line);
    flush_all(p);
}

/* --- printing -----------------------------------------------------------------------------------
 */

static size_t print_answer(struct probe *p)
{
    const uint8_t *newline = memchr(p->held, '\n', p->held_len);
    size_t n;

    if (!newline)
        return 0;
    n = (size_t)(newline - p->held) + 1;
    printf("answer %.*s", (int)n, (const char *)p->held);
    p->is_answered = true;
    return n;
}

static size_t print_frame(const struct probe *p)
{
    struct frame f;
    size_t n;

    if (p->held_len < FRAME_HEADER_BYTES)
        return 0;
    if (frame_parse(&f, p->held, p->held_len) <= 0)
        die("the hub sent a malformed frame: %s", frame_fault(&f));
    n = FRAME_HEADER_BYTES + f.len;
    if (p->held_len < n)
        return 0;
    fputs("frame ", stdout);
    for (size_t i = 0; i < n; i++)
        printf("%02x", p->held[i]);
    putchar('\n');
    return n;
}

static void print_all(struct probe *p)
{
    size_t used;

    while ((used = p->is_answered ? print_frame(p) : print_answer(p)) > 0) {
        p->held_len -= used;
        memmove(p->held, p->held + used, p->held_len);
    }
    fflush(stdout);
}

/* False: the hub has ended. */
static bool read_tunnel(struct probe *p)
{
    const uint8_t *bytes;
    size_t n;
    enum io io;

    while ((io = tls_read(p->tls, &bytes, &n)) == IO_OK) {
        if (n > sizeof(p->held) - p->held_len)
            die("the hub's line never ends");
        memcpy(p->held + p->held_len, bytes, n);
        p->held_len += n;
        print_all(p);
    }
    if (io == IO_WAIT)
        return true;
    end(p, "close_notify");
    return false;
}

/* --- the caller's bytes
 * --------------------------------------------------------------------------- */

static void read_stdin(struct probe *p)
{
    uint8_t bytes[TLS_RECORD_BYTES];
    ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

    if (n < 0 && errno == EINTR)
        return;
    if (n <= 0)
        p->is_stdin_open = false;
    else if (tls_write(p->tls, bytes, (size_t)n) != IO_OK)
        p->is_stdin_open = false; /* the next read says why */
}

static void relay(struct probe *p)
{
    for (;;) {
        unsigned wants = tls_wants(p->tls);
        bool is_asking = p->is_answered && p->is_stdin_open && tls_out_len(p->tls) < OUT_FULL;
        struct pollfd fds[2] = {{.fd = p->fd},
                                {.fd = is_asking ? STDIN_FILENO : -1, .events = POLLIN}};

        fds[0].events =
            (short)((wants & LOOP_READ ? POLLIN : 0) | (wants & LOOP_WRITE ? POLLOUT : 0));
        if (!tls_has_input(p->tls) && poll(fds, 2, -1) < 0 && errno != EINTR)
            die("poll: %m");
        if (!read_tunnel(p))
            return;
        if (fds[1].revents)
            read_stdin(p);
        if (tls_flush(p->tls) == IO_FAIL)
            p->is_stdin_open = false; /* what the hub sent before is still to be read */
    }
}

/* --- start
 * ---------------------------------------------------------------------------------------- */

static void parse_options(struct options *o, int argc, char **argv)
{
    if (argc < 2)
        die("usage: ADDRESS:PORT [--alpn NAME] [--instance NAME] [--session ID] [--lane N] "
            "[--hello LINE, " PROOF_MARK " in it] [--show-hello]");
    *o = (struct options){.address = argv[1], .alpn = WIRE_ALPN, .instance = "probe", .lane = "0"};
    for (int i = 2; i < argc; i++) {
        const char *name = argv[i], *value = argv[i + 1];

        if (strcmp(name, "--show-hello") == 0) {
            o->is_hello_shown = true;
            continue;
        }
        if (!value)
            die("%s lacks a value", name);
        i++;
        if (strcmp(name, "--alpn") == 0)
            o->alpn = value;
        else if (strcmp(name, "--instance") == 0)
            o->instance = value;
        else if (strcmp(name, "--session") == 0)
            o->session = value;
        else if (strcmp(name, "--lane") == 0)
            o->lane = value;
        else if (strcmp(name, "--hello") == 0)
            o->hello = value;
        else
            die("%s is no option", name);
    }
}

int main(int argc, char **argv)
{
    static struct probe p = {.is_stdin_open = true};
    struct options o;

    parse_options(&o, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    chunk_pool_init(&p.pool, 16, 0);
    connect_to(&p, &o);
    say_hello(&p, &o);
    relay(&p);
    tls_free(p.tls);
    tls_ctx_unref(p.ctx);
    close(p.fd);
    chunk_pool_fini(&p.pool);
    return 0;
}
