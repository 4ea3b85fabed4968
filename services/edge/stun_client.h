/* stun_client - asks a STUN server under which address the world sees this edge, now and then.
 * Control thread.  (wire/stun.h has the messages; api/tunnel.md, STUN)
 *
 *   OFF -> RESOLVING -> ASKING (address after address) -> WAITING (the interval) -> RESOLVING ...
 *
 * The server's name is looked up anew each time.  IPv4 is what is asked by; IPv6 when the server
 * has no IPv4 address, or this machine no way to it.  There is a socket in ASKING only, a new one
 * and a new transaction for each address.  A failure changes nothing: the address that was known
 * stays.  After one the next question comes sooner than the interval says: 10 s later, after each
 * further one in a row twice as late, all with jitter, until that is as long as the interval.
 *
 * A server that names another one (300 Try Alternate) is not followed: the answer is no more
 * authentic than any other, and would send us wherever it likes.  It is said in the log, with the
 * address.
 */
#ifndef EDGE_STUN_CLIENT_H
#define EDGE_STUN_CLIENT_H

#include "loop/addr.h"
#include "loop/loop.h"
#include "loop/resolver.h"
#include "wire/identity.h"
#include "wire/stun.h"

#define STUN_SERVERS_MAX        2u     /* addresses that are asked in one question */
#define STUN_INTERVAL_SECS      300u   /* until the hub has said another */
#define STUN_RETRY_MS           10000u /* after a failure, or half of it */
#define STUN_DATAGRAMS_PER_TURN 16u

/* What came of a question: X(name, text). */
#define STUN_RESULTS(X)                                                                            \
    X(OK, "ok")                                                                                    \
    X(TIMEOUT, "timeout")         /* no answer that counts */                                      \
    X(REFUSED, "refused")         /* an error answer */                                            \
    X(REDIRECTED, "redirected")   /* one that names another server */                              \
    X(USELESS, "useless")         /* an answer without an address that can be one */               \
    X(UNRESOLVED, "unresolved")   /* the name has no address */                                    \
    X(UNREACHABLE, "unreachable") /* no route, nobody there, or no socket */
enum stun_result {
#define X(name, text) STUN_RESULT_##name,
    STUN_RESULTS(X)
#undef X
        STUN_RESULT_COUNT
};

enum stun_client_state { STUN_OFF, STUN_WAITING, STUN_RESOLVING, STUN_ASKING };

struct stun_options {
    const char *server;     /* "host", "host:port", "[v6]", "[v6]:port"; "": never ask */
    unsigned rto_ms, tries; /* the first wait for an answer; requests to one address */
};

struct stun_client {
    enum stun_client_state state; /* written by stun_client_enter() only */
    struct loop *loop;            /* borrowed */
    struct resolver *resolver;    /* owned; NULL: there is no server to ask */
    char host[HOST_MAX + 1];
    uint16_t port;
    unsigned rto_ms, tries;
    uint32_t interval_secs; /* 0: none after the first question */
    uint64_t asked_ms;      /* when the newest question ended */
    unsigned failures;      /* in a row */
    uint64_t retry_ms;      /* after a failure: then the next one, or earlier */
    struct resolve query;
    struct deadline deadline; /* the next request, or the next question */
    struct loop_io io;
    int fd;                                      /* -1: no question is open */
    union addr servers[RESOLVER_ADDRESSES_MAX];  /* IPv4 first */
    unsigned server_count, next_server, reached; /* reached: addresses that a request left for */
    uint8_t id[STUN_ID_BYTES];
    unsigned sent;                       /* requests to the present address */
    char public_ip[ADDR_TEXT_MAX];       /* "": not known */
    enum stun_result last;               /* of the newest question: it is logged when it changes */
    uint64_t results[STUN_RESULT_COUNT]; /* questions by what came of them */
    uint64_t requests, ignored;          /* datagrams sent; received that answer nothing */
    void (*on_changed)(struct stun_client *c); /* public_ip is another */
};

const char *stun_result_name(enum stun_result result);
/* The parts of stun_options.server, which must not be empty.  0, -ERR_SYNTAX. */
MUST_USE int stun_server_parse(char host[HOST_MAX + 1], uint16_t *port, const char *text);

/* It never asks, until stun_client_configure(). */
void stun_client_init(struct stun_client *c, struct loop *loop,
                      void (*on_changed)(struct stun_client *c));
/* In OFF, once; the server's text is valid.  0, -ERR_SYS: there can be no resolver. */
MUST_USE int stun_client_configure(struct stun_client *c, const struct stun_options *options);
void stun_client_fini(struct stun_client *c); /* fine zeroed or twice */

/* In OFF: asks at once. */
void stun_client_start(struct stun_client *c);
/* How long after the end of failure number `failures` in a row (from 1) the next question comes,
 * were there no interval: between half of it and all of it.  `random` is uniform over 64 bits. */
uint64_t stun_retry_ms(unsigned failures, uint64_t random);
/* What was under way is given up, and the address forgotten; on_changed() is not called. */
void stun_client_stop(struct stun_client *c);
/* What the hub assigned: counts from the end of the newest question; one that is open goes on. */
void stun_client_set_interval(struct stun_client *c, uint32_t secs);

#endif
