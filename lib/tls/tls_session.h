/* tls_session - a connection of lib/tls whose handshake QUIC carries (RFC 9001): the same contexts,
 * checks and answers as over TCP, without socket, records and queues.
 *
 * For lib/quic only, since GnuTLS's type shows here.  What is made here goes with tls_free(); of
 * tls.h the exporter, the protocol, the name, the cipher and the error work on it, nothing that
 * reads, writes or shakes hands.
 */
#ifndef TLS_TLS_SESSION_H
#define TLS_TLS_SESSION_H

#include <gnutls/gnutls.h>

#include "tls/tls.h"

/* The context must be TLS_ONLY_13 and name at least one protocol, which both sides must then agree
 * on (RFC 9001, 8.1).  0, -ERR_NOMEM, -ERR_TLS. */
MUST_USE int tls_session_new_server(struct tls **out, struct tls_ctx *ctx, void *select_arg);
/* `name` as in tls_new_client().  Also -ERR_SYNTAX. */
MUST_USE int tls_session_new_client(struct tls **out, struct tls_ctx *ctx, const char *name);

/* Borrowed.  Its gnutls_session_set_ptr() is the caller's, its transport pointer is not. */
gnutls_session_t tls_session_handle(struct tls *t);

/* QUIC says that the handshake is complete.  0; -ERR_CERT: the server's certificate was not
 * checked as the context asks; -ERR_TLS: no protocol was agreed on. */
MUST_USE int tls_session_finish(struct tls *t);
/* What an alert means that ended the handshake, ours (is_theirs false) or the peer's; the first
 * error stays, it may be one that a check noted.  Returns tls_error(). */
int tls_session_fail(struct tls *t, uint8_t alert, bool is_theirs);

#endif
