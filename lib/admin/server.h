/* server - what the files of admin share.  Not for other modules.
 *
 *   acceptor --fd--> port: MHD daemon --request--> guard -> route -> auth -> body -> handler
 *                      ^ pump: MHD_run, then its timeout as a deadline            |
 *                      +------------------- reply: queued in MHD <----------------+
 *
 * One port is one libmicrohttpd daemon without threads and without a listening socket: connections
 * come from our acceptors, so that two address families share one daemon and its limits.
 */
#ifndef ADMIN_SERVER_H
#define ADMIN_SERVER_H

#include <microhttpd.h>

#include "admin/admin.h"
#include "admin/auth.h"
#include "admin/change_rate.h"
#include "admin/metrics.h"
#include "base/list.h"
#include "base/log.h"
#include "loop/listener.h"

#define ADMIN_PARAMS_MAX    4  /* {x} in one pattern */
#define ADMIN_QUERIES_MAX   16 /* keys behind the ? */
#define ADMIN_HEADERS_MAX   12 /* of an answer, besides those every answer has */
#define ADMIN_LINGERS_MAX   32 /* connections that are read empty after an early answer */
#define ADMIN_LINGER_MS     2000
#define ADMIN_LINGER_BYTES  (1u << 20)
#define ADMIN_BODY_RATE     16384u /* bytes a second that a body or an answer must make on average */
#define ADMIN_SWEEP_MS      1000
#define SUBSCRIBER_BEAT_MS  15000 /* a listener to events hears something at least this often */
#define SUBSCRIBER_STALL_MS 60000 /* one that takes nothing for so long is cut off */
#define EVENT_STREAM        "text/event-stream"

/* Why a request was refused before a handler saw it: the label `reason` of a counter. */
#define ADMIN_REFUSALS(X)                                                                          \
    X(CONNECTIONS, "connections")                                                                  \
    X(PER_ADDRESS, "per_address")                                                                  \
    X(SLOW, "slow")                                                                                \
    X(FRAMING, "framing")                                                                          \
    X(TARGET, "target")                                                                            \
    X(HOST, "host")                                                                                \
    X(ORIGIN, "origin")                                                                            \
    X(AUTH, "auth")                                                                                \
    X(AUTH_RATE, "auth_rate")                                                                      \
    X(SCOPE, "scope")                                                                              \
    X(CHANGES, "changes")                                                                          \
    X(CLIENT_CERT, "client_cert")                                                                  \
    X(PATH, "path")                                                                                \
    X(METHOD, "method")                                                                            \
    X(QUERY, "query")                                                                              \
    X(MEDIA_TYPE, "media_type")                                                                    \
    X(BODY, "body")                                                                                \
    X(TOO_LARGE, "too_large")                                                                      \
    X(BODIES, "bodies")                                                                            \
    X(SYNTAX, "syntax")
#define X(name, text) ADMIN_REFUSED_##name,
enum admin_refusal { ADMIN_REFUSALS(X) ADMIN_REFUSED_COUNT };
#undef X

/* Methods that are counted by name; the rest is "other". */
#define ADMIN_METHODS 7
extern const char *const admin_methods[ADMIN_METHODS];

struct admin_counters {
    uint64_t answers[ADMIN_METHODS][500]; /* by method and status - 100 */
    uint64_t refused[ADMIN_REFUSED_COUNT];
};

/* The connections that were answered before their body was read: what still comes in is thrown away
 * for a moment, for closing at once would be a reset that eats the answer on its way. */
struct lingers {
    struct loop *loop; /* borrowed */
    struct list open;
    unsigned count;
};

struct door {
    struct acceptor acceptor;
    struct port *port; /* borrowed: the owner */
};

struct port {
    struct admin *admin;       /* borrowed: the owner */
    struct MHD_Daemon *daemon; /* owned */
    struct door doors[2];      /* IPv6 and IPv4 */
    unsigned doors_count;
    struct loop_io io;       /* MHD's epoll descriptor, which is MHD's */
    struct deadline timeout; /* what MHD wants to be called for */
    struct deadline sweep;
    struct ready pump;
    struct list clients;
    unsigned clients_count;
    bool is_metrics; /* the open port: three routes, no token */
    bool is_running; /* inside MHD_run */
    char address[ADDR_TEXT_MAX];
};

/* What is known of a client's certificate (management.clientCaFile). */
enum client_cert { CLIENT_CERT_UNKNOWN, CLIENT_CERT_GOOD, CLIENT_CERT_BAD };

/* What a connection is busy with; each phase but HANDLING has its own deadline in the sweep. */
enum client_phase {
    CLIENT_HEAD, /* TLS handshake, idle, or a head that is coming in */
    CLIENT_BODY,
    CLIENT_HANDLING, /* ours: no deadline */
    CLIENT_REPLY,
    CLIENT_STREAMING, /* events: no end, but something must be taken now and then */
};

/* One connection. */
struct client {
    struct list node;                  /* in port->clients */
    struct port *port;                 /* borrowed */
    struct MHD_Connection *connection; /* borrowed from MHD */
    int fd;                            /* MHD's */
    int linger_fd;                     /* owned: a second name of fd, to linger on; or -1 */
    enum client_phase phase;
    enum client_cert cert;
    uint64_t since_ms; /* of the phase */
    uint64_t bytes;    /* of the body that came, of the answer that goes */
    union addr addr;
    char peer[ADDR_TEXT_MAX];
};

/* HEAD -> BODY -> HANDLING -> DEFERRED -> ANSWERED; most are passed over by most requests.
 * HELD: one wrong token too many; refused when the second is over (auth.h).
 * GONE: the client left before a deferred answer came. */
#define REQUEST_STATES(X)                                                                          \
    X(HEAD, BIT(REQUEST_BODY) | BIT(REQUEST_HELD) | BIT(REQUEST_HANDLING) | BIT(REQUEST_ANSWERED)) \
    X(HELD, BIT(REQUEST_ANSWERED))                                                                 \
    X(BODY, BIT(REQUEST_HANDLING) | BIT(REQUEST_ANSWERED))                                         \
    X(HANDLING, BIT(REQUEST_DEFERRED) | BIT(REQUEST_ANSWERED))                                     \
    X(DEFERRED, BIT(REQUEST_ANSWERED) | BIT(REQUEST_GONE))                                         \
    X(ANSWERED, 0)                                                                                 \
    X(GONE, 0)
#define X(name, next) REQUEST_##name,
enum request_state { REQUEST_STATES(X) REQUEST_STATE_COUNT };
#undef X

struct reply_header {
    const char *name; /* static */
    char *value;      /* owned */
};

struct reply {
    unsigned status;
    const char *type;  /* static, or NULL: no body */
    const char *cache; /* static: Cache-Control; NULL: no-store */
    char *body;        /* owned */
    size_t len;
    struct reply_header headers[ADMIN_HEADERS_MAX];
    size_t headers_count;
    bool must_close;
    struct subscriber *subscriber; /* owned, instead of a body */
};

struct parameter {
    char *name, *value; /* owned */
};

struct admin_request {
    struct list node;                  /* in admin->requests */
    struct admin *admin;               /* borrowed */
    struct client *client;             /* borrowed: lives longer */
    struct MHD_Connection *connection; /* borrowed from MHD */
    enum request_state state;
    bool is_head, has_body, is_suspended;
    const char *method, *target;     /* borrowed from MHD for the request's life */
    char *path;                      /* owned: raw, without the query */
    const struct admin_route *route; /* NULL until found */
    enum auth_scope scope;
    struct parameter params[ADMIN_PARAMS_MAX], queries[ADMIN_QUERIES_MAX];
    size_t params_count, queries_count;
    char id[65];
    char *body; /* owned */
    size_t body_len, body_cap, body_max, body_reserved;
    struct json_object *document; /* owned */
    struct reply reply;
    struct subscriber *listener; /* borrowed: what the answer is, once it is queued */
    void (*on_gone)(struct admin_request *r, void *arg);
    void *on_gone_arg;
    struct deadline hold; /* of HELD */
};

struct admin {
    struct admin_options options; /* strings are copies where they are used after the start */
    char *service;                /* owned */
    struct json_object *hosts;    /* counted */
    struct auth auth;
    struct log_limit auth_log;
    struct change_rate changes;
    struct admin_counters counters;
    struct port *main, *metrics; /* owned; metrics may be NULL */
    struct lingers lingers;
    struct list subscribers; /* struct subscriber, owned by their answers */
    struct deadline heartbeat;
    struct list requests;
    int gone_fd; /* owned: an epoll set of the sockets of deferred requests */
    struct loop_io gone_io;
    size_t bodies_bytes; /* in memory now */
    char *cert, *key;    /* owned: PEM; key wiped */
    char *client_ca;     /* owned: PEM; or NULL: no client needs a certificate */
    bool is_stopping;    /* no handler runs any more: it could defer, or begin to listen */
};

/* port.c */
MUST_USE int port_start(struct port **out, struct admin *a, const char *listen, bool is_metrics,
                        char *why, size_t why_size);
void port_run(struct port *p);
void port_stop(struct port *p);
void client_enter(struct client *c, enum client_phase phase);
void client_keep_for_linger(struct client *c);

/* linger.c */
void lingers_init(struct lingers *l, struct loop *loop);
void lingers_fini(struct lingers *l);
/* Takes fd over: reads it empty until its end, a deadline or a number of bytes, then closes. */
void linger_start(struct lingers *l, int fd);

/* request.c: what libmicrohttpd calls. */
enum MHD_Result request_on_data(void *port, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *bytes,
                                size_t *n, void **context);
void request_on_completed(void *port, struct MHD_Connection *connection, void **context,
                          enum MHD_RequestTerminationCode why);
void request_enter(struct admin_request *r, enum request_state to);
/* Goes on with a deferred request that has its answer, or whose client is gone. */
void request_resume(struct admin_request *r);
/* Tells when the client shuts its side. */
void request_watch(struct admin_request *r);
/* Answers what is deferred or held; for the end. */
void requests_end(struct admin *a);
void requests_on_gone_event(struct loop_io *io, unsigned events);
/* The values of a header, joined by ", "; NULL when there is none.  The caller's. */
char *request_header(const struct admin_request *r, const char *name, unsigned *count);

/* guard.c: each answers and returns false when the request is refused. */
bool guard_framing(struct admin_request *r, const char *version);
bool guard_target(struct admin_request *r);
bool guard_host(struct admin_request *r);
/* The connection's certificate, where one is asked for; not for ADMIN_OPEN. */
bool guard_client_cert(struct admin_request *r, const struct admin_route *route);
/* How often something is changed. */
bool guard_changes(struct admin_request *r);
/* The parameters behind ?, against those that the route knows; it is found by now. */
bool guard_query(struct admin_request *r);
/* %XX undone; NULL when one is broken or makes a NUL.  The caller's. */
char *percent_decode(const char *text, size_t n);

/* route.c */
struct route_match {
    const struct admin_route *route; /* for the method, or NULL */
    bool has_path, has_public;
    char allow[128]; /* "GET, HEAD, PUT" */
};
void route_find(struct admin_request *r, struct route_match *out);

/* builtin.c */
extern const struct admin_route builtin_routes[], metrics_routes[];

/* reply.c */
/* problem+json that is counted as a refusal. */
void reply_refuse(struct admin_request *r, enum admin_refusal why, unsigned status,
                  const char *code, const char *fmt, ...) PRINTF_LIKE(5, 6);
void reply_header(struct admin_request *r, const char *name, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* A text of another type; `body` is taken over. */
void reply_text(struct admin_request *r, unsigned status, const char *type, char *body, size_t len);
/* Hands the reply to libmicrohttpd. */
enum MHD_Result reply_queue(struct admin_request *r);
/* The same in the middle of a body, where libmicrohttpd takes no answer: written straight to the
 * socket.  What does not fit at once is lost; the connection is closed anyway. */
void reply_send_now(struct admin_request *r);
void reply_fini(struct reply *reply);
const char *status_title(unsigned status);

/* subscriber.c */
void subscribers_init(struct admin *a);
void subscribers_end(struct admin *a);
void get_events(void *service, struct admin_request *r);
void subscriber_end(struct subscriber *s);
void subscriber_free(void *subscriber);
/* Owns the subscriber from then on; NULL: it is freed. */
struct MHD_Response *subscriber_response(struct subscriber *s);
void reply_events(struct admin_request *r, struct subscriber *s); /* reply.c */

/* metrics_process.c */
void metrics_process(struct metrics *m, const char *service);

#endif
