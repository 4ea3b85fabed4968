/* tls - one TLS connection over one TCP socket: GnuTLS behind two queues of chunks.
 *
 *   socket --read---> in --pull--> GnuTLS --> plaintext     tls_read
 *   socket <--write-- out <-push-- GnuTLS <-- plaintext     tls_write, then tls_flush
 *
 * Many small records leave in one system call, and many arrive in one; GnuTLS's own rules for a
 * call that would block (same arguments again) never reach the caller, since neither queue blocks
 * it. An idle connection holds no chunk.  The socket stays the caller's.
 */
#ifndef TLS_TLS_H
#define TLS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/must.h"

#define TLS_RECORD_BYTES   16384u
#define TLS_EXPORTER_BYTES 32u
#define TLS_PIN_BYTES      32u
#define TLS_CERT_PAIRS_MAX 4u
#define TLS_CA_BYTES_MAX   (4u << 20) /* of a file of CAs */

struct chunk_pool;
struct tls;         /* one connection */
struct tls_cert;    /* a chain with its key, counted; may be shared by threads */
struct tls_tickets; /* the keys of session tickets, counted; nothing changes in it */
struct tls_ctx;     /* what the connections of one listener or dialler have in common, counted */

/* --- certificates ------------------------------------------------------------------------ */

/* Parses a PEM chain (the server's own certificate first, at most 16; other blocks are passed over)
 * and its key, without a password, and checks that they belong together.  An expired one is no
 * error.  0; -ERR_SYNTAX (what: which part, why), -ERR_CERT (the key is not the certificate's, or
 * of a kind that no handshake here can use), -ERR_NOMEM.  `why` gets a sentence for people. */
MUST_USE int tls_cert_parse(struct tls_cert **out, const char *chain_pem, const char *key_pem,
                            char *why, size_t why_size);
/* One more pair for the same names, with a key of another kind (RSA beside ECDSA, say): each client
 * gets the one that it can use.  Before the cert is shared, at most TLS_CERT_PAIRS_MAX in all.  The
 * errors of tls_cert_parse(), and the cert stays as it was. */
MUST_USE int tls_cert_add(struct tls_cert *cert, const char *chain_pem, const char *key_pem,
                          char *why, size_t why_size);
/* Reads both files, each at most 1 MiB.  Also -ERR_IO; `why` names the file. */
MUST_USE int tls_cert_load(struct tls_cert **out, const char *chain_file, const char *key_file,
                           char *why, size_t why_size);
/* Makes a self-signed ECDSA P-256 certificate for `name` (a DNS name or an address) as PEM, valid
 * for 10 years, from an hour ago since clocks differ; both strings are the caller's (free; tls_wipe
 * the key first).  0, -ERR_TLS. */
MUST_USE int tls_cert_make_pem(const char *name, char **chain_pem, char **key_pem);
struct tls_cert *tls_cert_ref(struct tls_cert *cert);
void tls_cert_unref(struct tls_cert *cert);
unsigned tls_cert_count(const struct tls_cert *cert); /* pairs */
/* "ECDSA", "RSA", "EdDSA (Ed25519)": of the i-th pair. */
const char *tls_cert_key_kind(const struct tls_cert *cert, unsigned i);
/* SHA-256 of the first leaf's SubjectPublicKeyInfo (the pin), and of the i-th leaf (its
 * fingerprint). */
void tls_cert_pin(const struct tls_cert *cert, uint8_t out[TLS_PIN_BYTES]);
void tls_cert_fingerprint(const struct tls_cert *cert, unsigned i, uint8_t out[32]);
/* Seconds since 1970, of the i-th pair. */
int64_t tls_cert_not_before(const struct tls_cert *cert, unsigned i);
int64_t tls_cert_not_after(const struct tls_cert *cert, unsigned i);
/* Whether the names in the i-th certificate cover `host` (RFC 6125). */
bool tls_cert_covers(const struct tls_cert *cert, unsigned i, const char *host);
/* Calls on_name for each DNS name of the i-th leaf. */
void tls_cert_each_name(const struct tls_cert *cert, unsigned i,
                        void (*on_name)(const char *name, void *arg), void *arg);

/* --- session tickets --------------------------------------------------------------------- */

#define TLS_TICKET_KEYS_MAX 24u

/* A fresh random key, which seals from now on, in front of those of `before` (NULL: none), which
 * still open; `keep` of them in all.  A ticket is good for `good_secs`. */
struct tls_tickets *tls_tickets_new(const struct tls_tickets *before, unsigned keep,
                                    unsigned good_secs);
struct tls_tickets *tls_tickets_ref(struct tls_tickets *tickets);
void tls_tickets_unref(struct tls_tickets *tickets); /* any thread; wipes; fine with NULL */

/* --- contexts ---------------------------------------------------------------------------- */

enum tls_versions {
    TLS_ONLY_13,   /* the tunnel: AES-128-GCM, AES-256-GCM, ChaCha20 in this order; X25519, P-256 */
    TLS_12_AND_13, /* the ingress: forward secrecy and AEAD only; also P-384 */
};

struct tls_server_options {
    enum tls_versions versions;
    const char *const *alpn; /* NULL-ended, in order of preference; or NULL */
    /* One of the two.  `cert` is counted here too: always this one. */
    struct tls_cert *cert;
    /* The certificate for a name (NULL: the client sent none; lower case, no trailing dot).
     * Borrowed for the call: tls takes its own reference.  NULL: refused with the alert
     * unrecognized_name. */
    struct tls_cert *(*select)(void *arg, const char *sni);
    /* The keys in force for the session tickets of a connection, with the same `arg`; borrowed for
     * the call.  NULL, or the function NULL: no tickets.  Only with `select`: a ticket is bound to
     * the name that it was given out for. */
    const struct tls_tickets *(*tickets)(void *arg);
};

struct tls_client_options {
    enum tls_versions versions;
    const char *const *alpn;
    const uint8_t *pin;  /* 32 bytes, copied; or NULL */
    const char *ca_file; /* or NULL; the chain and the name are then checked */
    /* What was read from it before, PEM, borrowed for the call; NULL: it is read here (a regular
     * file of at most TLS_CA_BYTES_MAX). */
    const char *ca_pem;
    size_t ca_pem_len;
    bool use_system_ca; /* the system's CAs instead of a file (not both) */
    /* Pin and CA: both must agree.  None of them: the certificate is not checked here (the tunnel's
     * proof does it). */
};

/* No 0-RTT, no renegotiation, tickets only where asked for; at most 8 protocols.  0, -ERR_TLS
 * (GnuTLS lacks what we need). */
MUST_USE int tls_ctx_new_server(struct tls_ctx **out, const struct tls_server_options *options);
/* Also -ERR_IO, -ERR_SYNTAX: the CA file; `why` gets a sentence. */
MUST_USE int tls_ctx_new_client(struct tls_ctx **out, const struct tls_client_options *options,
                                char *why, size_t why_size);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx);
void tls_ctx_unref(struct tls_ctx *ctx);

/* --- connections ------------------------------------------------------------------------- */

/* `fd` is borrowed: close it after tls_free().  `select_arg` goes to the context's `select`.
 * Takes no chunk before bytes come in.  0, -ERR_NOMEM, -ERR_TLS. */
MUST_USE int tls_new_server(struct tls **out, struct tls_ctx *ctx, struct chunk_pool *pool, int fd,
                            void *select_arg);
/* `name` is sent as SNI and checked where a CA is given (without a name no certificate passes
 * then); NULL or an address: no SNI.  Also -ERR_SYNTAX: not a host name. */
MUST_USE int tls_new_client(struct tls **out, struct tls_ctx *ctx, struct chunk_pool *pool, int fd,
                            const char *name);
void tls_free(struct tls *t); /* sends nothing; fine with NULL */

/* One step of the handshake, reading and writing as much as the socket takes.
 * IO_OK: done, the last flight is with the kernel; don't call it again.  IO_WAIT: tls_wants().
 * IO_FAIL: tls_error(); the alert that tells the peer why was sent if the socket took it. */
MUST_USE enum io tls_handshake(struct tls *t);

/* Which readiness (level-triggered) of the socket the next step needs: LOOP_READ | LOOP_WRITE of
 * loop/loop.h.  Once open: LOOP_READ until the end came, LOOP_WRITE while tls_out_len() > 0; 0
 * after a failure. */
unsigned tls_wants(const struct tls *t);

/* The next plaintext, at most one record, never empty, borrowed until the next tls_read(). IO_WAIT:
 * everything that came in is used up and the socket had no more; flush then, GnuTLS may have
 * answered something by itself.  IO_EOF: close_notify, again at each call; writing is still
 * allowed. IO_FAIL: tls_error() (-ERR_CLOSED: end of file without close_notify). */
MUST_USE enum io tls_read(struct tls *t, const uint8_t **bytes, size_t *n);
/* True while tls_read() could give something without new readiness of the socket. */
bool tls_has_input(const struct tls *t);

/* Encrypts n <= TLS_RECORD_BYTES bytes as one record into the out queue; nothing is sent yet.
 * Only when tls_out_len() is below the caller's own bound: at 8 MiB the connection fails with
 * -ERR_FULL.  After the handshake and before tls_bye().  IO_OK, IO_FAIL. */
MUST_USE enum io tls_write(struct tls *t, const void *bytes, size_t n);
/* Sends what is in the out queue.  IO_OK: all of it is with the kernel.  IO_WAIT.  IO_FAIL: nothing
 * can be written any more, but what the peer said before it went is still to be read. */
MUST_USE enum io tls_flush(struct tls *t);
size_t tls_out_len(const struct tls *t); /* ciphertext that waits */
/* Queues close_notify, once, if the connection is open; flush after it. */
void tls_bye(struct tls *t);

/* After the handshake. */
int tls_exporter(const struct tls *t, uint8_t out[TLS_EXPORTER_BYTES]); /* RFC 9266; 0, -ERR_TLS */
const char *tls_alpn(const struct tls *t); /* "" when none was agreed */
const char *tls_sni(const struct tls *t);  /* whom the client dialled, normalised; "" when none */
const char *tls_version(const struct tls *t); /* "TLS1.3" */
const char *tls_cipher(const struct tls *t);  /* "AES-128-GCM" */
bool tls_is_resumed(const struct tls *t);     /* by a session ticket */
/* From when until when the peer's own certificate is good, seconds since 1970, whether or not it
 * was checked.  0, -ERR_CERT: it showed none that can be read. */
MUST_USE int tls_peer_times(const struct tls *t, int64_t *not_before, int64_t *not_after);

/* The first error, and a sentence about it:
 * -ERR_TLS the peer's bytes or what it offers; -ERR_CERT the certificate, ours or the peer's;
 * -ERR_DENIED no such name (on both sides); -ERR_CLOSED, -ERR_RESET the peer went away;
 * -ERR_IO another error of the socket; -ERR_NOMEM no chunk; -ERR_FULL see tls_write().  0: none. */
int tls_error(const struct tls *t);
const char *tls_error_text(const struct tls *t);

/* --- bare cryptography ------------------------------------------------------------------- */

void tls_hmac_sha256(const void *key, size_t key_len, const void *text, size_t text_len,
                     uint8_t out[32]);
void tls_sha256(const void *text, size_t text_len, uint8_t out[32]);
/* AES-256-GCM under a random nonce: out has n + TLS_SEAL_BYTES.  `binding` is not in it, but has to
 * be the same at the opening.  Fine for 2^32 texts under one key. */
#define TLS_SEAL_BYTES 28 /* nonce and tag */
void tls_seal(const uint8_t key[32], const void *binding, size_t binding_n, const void *text,
              size_t n, uint8_t *out);
/* out has n - TLS_SEAL_BYTES.  0, -ERR_AUTH: not what was sealed so. */
MUST_USE int tls_unseal(const uint8_t key[32], const void *binding, size_t binding_n,
                        const void *sealed, size_t n, uint8_t *out);
/* For what a protocol names SHA-1 (RFC 6455), never to protect something. */
void tls_sha1(const void *text, size_t text_len, uint8_t out[20]);
void tls_random(void *out, size_t n);
bool tls_is_equal(const void *a, const void *b, size_t n); /* in constant time */
void tls_wipe(void *p, size_t n);                          /* zeroes; is not optimised away */

#endif
