/* tls_internal - what the files of this module share: the three structs, and the few calls that
 * cross them.  Nobody outside lib/tls includes it; GnuTLS's types stay behind it.
 */
#ifndef TLS_TLS_INTERNAL_H
#define TLS_TLS_INTERNAL_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdatomic.h>

#include "buf/bufq.h"
#include "tls/tls.h"

#define TLS_IN_BYTES (256u << 10) /* ciphertext read ahead */
#define TLS_OUT_BYTES                                                                              \
    (8u << 20)                /* ciphertext unsent: a caller without a bound of its own ends here */
#define TLS_PIECES_MAX    16u /* chunks in one system call */
#define TLS_SNI_MAX       253u /* a DNS name in text form */
#define TLS_ALPN_NAME_MAX 32u  /* GnuTLS's own bound */
#define TLS_ALPN_MAX      8u
/* The most that GnuTLS may take in before it is done with the handshake (a client's whole part, a
 * server's with its chain), and later before it gives data. */
#define TLS_HELLO_BYTES       32768u
#define TLS_CHAIN_BYTES       (160u << 10)
#define TLS_QUIET_BYTES       (64u << 10)
#define TLS_TICKET_NAME_BYTES 16u

struct tls_cert {
    atomic_uint refs;
    gnutls_certificate_credentials_t creds; /* owned; only read once the cert is published */
    /* Owned: of each pair of chain and key its own certificate, the first one's first. */
    gnutls_x509_crt_t leaves[TLS_CERT_PAIRS_MAX];
    uint8_t prints[TLS_CERT_PAIRS_MAX][32]; /* SHA-256 of each */
    int64_t not_before[TLS_CERT_PAIRS_MAX], not_after[TLS_CERT_PAIRS_MAX];
    unsigned count;
};

struct tls_ctx {
    atomic_uint refs;
    gnutls_init_flags_t role; /* GNUTLS_SERVER or GNUTLS_CLIENT */
    /* borrowed from the process: compiled once, never freed */
    gnutls_priority_t priority, quic_priority;
    bool is_only_13;
    char alpn[TLS_ALPN_MAX][TLS_ALPN_NAME_MAX + 1];
    unsigned alpn_count;
    /* server */
    struct tls_cert *cert; /* counted; or NULL, then: */
    struct tls_cert *(*select)(void *arg, const char *sni);
    const struct tls_tickets *(*tickets)(void *arg); /* or NULL: none */
    /* client */
    gnutls_certificate_credentials_t creds; /* owned */
    bool has_pin, has_ca;
    uint8_t pin[TLS_PIN_BYTES];
};

enum tls_state {
    TLS_HANDSHAKE,   /* GnuTLS has not agreed yet */
    TLS_LAST_FLIGHT, /* it has; our last flight is not with the kernel yet */
    TLS_OPEN,
    TLS_DEAF, /* the peer takes no more: nothing is written, reading goes on */
    TLS_FAILED,
};

/* What the socket said last: saves the system call that would only say "nothing". */
enum tls_source {
    SOURCE_READY,   /* may have more */
    SOURCE_DRAINED, /* gave less than it was asked for */
    SOURCE_EOF,
};

/* Of the ticket in a client's hello: says which key sealed it. */
struct tls_ticket_name {
    bool is_known;
    uint8_t bytes[TLS_TICKET_NAME_BYTES];
};

struct tls {
    gnutls_session_t session; /* owned */
    struct tls_ctx *ctx;      /* counted */
    struct tls_cert *cert;    /* counted: the server's own, once chosen */
    struct bufq in, out;      /* ciphertext */
    int fd;                   /* borrowed from the caller */
    enum tls_state state;
    enum tls_source source;
    bool is_quic;           /* a tls_session: no socket, no records; GnuTLS's session pointer is
                             * the owner's */
    size_t quiet_bytes;     /* that GnuTLS took since it gave anything */
    unsigned pieces;        /* chunks to read into the next time */
    gnutls_packet_t packet; /* owned: the plaintext lent by the last tls_read() */
    bool is_starved;        /* GnuTLS asked for input that was not there */
    bool is_checked;        /* the server's certificate passed what ctx asks for */
    bool is_bye;            /* close_notify is queued: nothing may be written behind it */
    bool is_eof;            /* close_notify came in */
    bool is_resumed;        /* by a ticket */
    struct tls_ticket_name ticket_name;
    void *select_arg;           /* borrowed from the caller */
    char name[TLS_SNI_MAX + 1]; /* server: what the client asked for; client: whom it dialled */
    char alpn[TLS_ALPN_NAME_MAX + 1];
    int error; /* 0 or -ERR_*: the first one */
    char error_text[160];
};

/* Keeps the first error and its sentence.  Does not change the state: GnuTLS's callbacks use it
 * too. */
void tls_note(struct tls *t, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* What carries a connection: a socket and the pool of its queues, or QUIC. */
struct tls_carrier {
    bool is_quic;
    int fd;                  /* borrowed; -1 */
    struct chunk_pool *pool; /* borrowed; NULL */
};
MUST_USE int tls_open_server(struct tls **out, struct tls_ctx *ctx,
                             const struct tls_carrier *carrier, void *select_arg);
MUST_USE int tls_open_client(struct tls **out, struct tls_ctx *ctx,
                             const struct tls_carrier *carrier, const char *name);
/* Takes what a complete handshake agreed on. */
void tls_learn(struct tls *t);
/* The error that an alert of the peer stands for. */
int tls_alert_error(gnutls_alert_description_t alert);

/* The connection of a session, in GnuTLS's callbacks: its transport pointer is ours always. */
static inline struct tls *tls_of(gnutls_session_t session)
{
    return gnutls_transport_get_ptr(session);
}

/* tls_ctx.c: gives a new session what its context prescribes.  0, -ERR_NOMEM, -ERR_TLS. */
MUST_USE int tls_ctx_setup(struct tls *t);
/* tls_ctx.c: a client's check of the server is complete, or was not asked for. */
bool tls_ctx_is_satisfied(const struct tls *t);

/* tls_tickets.c: looks at the hellos of a session that may have tickets. */
void tls_tickets_setup(struct tls *t);
/* For the name and the certificate that were chosen, once.  A GnuTLS code. */
MUST_USE int tls_tickets_enable(struct tls *t, const struct tls_tickets *tickets);

/* tls_socket.c: the queues between GnuTLS and the socket. */
void tls_socket_setup(struct tls *t);
/* Reads once.  IO_OK: something came, or the end (SOURCE_EOF); IO_WAIT; IO_FAIL: noted. */
MUST_USE enum io tls_socket_fill(struct tls *t);
/* Writes until `out` is empty or the socket is full.  IO_OK, IO_WAIT, IO_FAIL: noted. */
MUST_USE enum io tls_socket_flush(struct tls *t);

/* "www.Example.org." as it is looked up: lower case, no trailing dot.  0; -ERR_SYNTAX: no host
 * name. */
MUST_USE int tls_name_normalise(char out[TLS_SNI_MAX + 1], const char *name, size_t n);
/* The bytes of an IPv4 or IPv6 address, or 0. */
size_t tls_name_address(const char *name, uint8_t out[16]);

/* One sentence for people; `why` may be NULL when why_size is 0. */
void tls_say(char *why, size_t why_size, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
