/* tls_load - clients of a TLS server, for what a connection costs it.
 *
 *   tls_load shake PORT NAME THREADS SECS full|resumed   connects, shakes hands and says goodbye,
 * again and again: {"handshakes": n, "resumed": n} tls_load idle PORT NAME COUNT opens COUNT
 * connections, one request each; says "ready", and ends with its standard input
 *
 * TLS 1.3 with AES-128-GCM and X25519, whatever the server has; certificates are not checked.  A
 * thread takes one ticket and shows it again each time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PRIORITY    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:-GROUP-ALL:+GROUP-X25519"
#define THREADS_MAX 64

static uint16_t port;
static const char *name;
static bool resumes;
static double until;
static gnutls_certificate_credentials_t credentials;
static gnutls_priority_t priority;
static atomic_ulong handshakes, resumed;

struct connection {
    gnutls_session_t session;
    int fd;
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "tls_load: %s: %s\n", what, why);
    exit(1);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int connect_to(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct timeval patience = {.tv_sec = 30};

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        fail("socket", strerror(errno));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        fail("connect", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

/* With the ticket, unless that is empty. */
static struct connection open_connection(const gnutls_datum_t *ticket)
{
    struct connection c = {.fd = connect_to()};
    int rc;

    if (gnutls_init(&c.session, GNUTLS_CLIENT) < 0)
        fail("gnutls_init", "no memory");
    gnutls_priority_set(c.session, priority);
    gnutls_credentials_set(c.session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_server_name_set(c.session, GNUTLS_NAME_DNS, name, strlen(name));
    if (ticket && ticket->data)
        gnutls_session_set_data(c.session, ticket->data, ticket->size);
    gnutls_transport_set_int(c.session, c.fd);
    do
        rc = gnutls_handshake(c.session);
    while (rc < 0 && !gnutls_error_is_fatal(rc));
    if (rc < 0)
        fail("handshake", gnutls_strerror(rc));
    return c;
}

static void free_connection(struct connection *c)
{
    gnutls_deinit(c->session);
    close(c->fd);
}

/* To the server's end: what it still sends (tickets) is taken. */
static void say_goodbye(struct connection *c)
{
    char waste[4096];
    ssize_t n;

    gnutls_bye(c->session, GNUTLS_SHUT_WR);
    do
        n = gnutls_record_recv(c->session, waste, sizeof(waste));
    while (n > 0 || n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED);
    free_connection(c);
}

static void ask(struct connection *c)
{
    char text[512], answer[4096];
    ssize_t n;
    int len = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", name);

    gnutls_record_send(c->session, text, (size_t)len);
    do
        n = gnutls_record_recv(c->session, answer, sizeof(answer));
    while (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED);
    if (n < 12 || memcmp(answer + 9, "200", 3) != 0)
        fail("request", n < 0 ? gnutls_strerror((int)n) : "no 200");
}

static void *shake(void *arg)
{
    gnutls_datum_t ticket = {0};

    (void)arg;
    if (resumes) {
        struct connection first = open_connection(NULL);

        ask(&first); /* the ticket comes before the answer, or with it */
        if (gnutls_session_get_data2(first.session, &ticket) < 0)
            fail("ticket", "there is none");
        say_goodbye(&first);
    }
    while (now() < until) {
        struct connection c = open_connection(&ticket);

        handshakes++;
        resumed += gnutls_session_is_resumed(c.session) != 0;
        say_goodbye(&c);
    }
    gnutls_free(ticket.data);
    return NULL;
}

static void run_shakes(int threads, double secs)
{
    pthread_t all[THREADS_MAX];

    until = now() + secs;
    for (int i = 0; i < threads; i++)
        if (pthread_create(&all[i], NULL, shake, NULL) != 0)
            fail("thread", "there is none");
    for (int i = 0; i < threads; i++)
        pthread_join(all[i], NULL);
    printf("{\"handshakes\": %lu, \"resumed\": %lu}\n", (unsigned long)handshakes,
           (unsigned long)resumed);
}

static void hold(int count)
{
    struct connection *all = calloc((size_t)count, sizeof(*all));

    if (!all)
        fail("memory", "there is none");
    for (int i = 0; i < count; i++) {
        all[i] = open_connection(NULL);
        ask(&all[i]);
    }
    puts("ready");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    for (int i = 0; i < count; i++)
        free_connection(&all[i]);
    free(all);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        fail("usage", "shake PORT NAME THREADS SECS full|resumed, or idle PORT NAME COUNT");
    port = (uint16_t)atoi(argv[2]);
    name = argv[3];
    gnutls_certificate_allocate_credentials(&credentials);
    if (gnutls_priority_init(&priority, PRIORITY, NULL) < 0)
        fail("priority", PRIORITY);
    if (strcmp(argv[1], "idle") == 0) {
        hold(atoi(argv[4]));
    } else if (argc == 7) {
        int threads = atoi(argv[4]);

        resumes = strcmp(argv[6], "resumed") == 0;
        if (threads < 1 || threads > THREADS_MAX)
            fail("threads", "1 to 64");
        run_shakes(threads, atof(argv[5]));
    }
    gnutls_priority_deinit(priority);
    gnutls_certificate_free_credentials(credentials);
    return 0;
}
