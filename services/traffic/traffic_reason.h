/* traffic_reason - why a request or a connection was refused or broken: one word each, in the
 * access log, in the body of our own answers and as a metric label.
 */
#ifndef TRAFFIC_TRAFFIC_REASON_H
#define TRAFFIC_TRAFFIC_REASON_H

#include <stdbool.h>

/* X(name, word, status): the status that is answered where an answer is still possible; 0: none. */
#define TRAFFIC_REASONS(X)                                                                         \
    X(NONE, "none", 0)                                                                             \
    /* the bytes of a head */                                                                      \
    X(BAD_BYTE, "bad_byte", 400) /* NUL, a control character */                                    \
    X(BARE_LF, "bare_lf", 400)                                                                     \
    X(BARE_CR, "bare_cr", 400)                                                                     \
    X(OBS_FOLD, "obs_fold", 400)                                                                   \
    X(BAD_REQUEST_LINE, "bad_request_line", 400)                                                   \
    X(BAD_METHOD, "bad_method", 400)                                                               \
    X(BAD_TARGET, "bad_target", 400)                                                               \
    X(BAD_VERSION, "bad_version", 505)                                                             \
    X(HTTP2_PREFACE, "http2_preface", 400)                                                         \
    X(BAD_FIELD_NAME, "bad_field_name", 400)                                                       \
    X(BAD_FIELD_VALUE, "bad_field_value", 400)                                                     \
    X(PARSERS_DISAGREE, "parsers_disagree", 400) /* llhttp refused or read another length */       \
    X(URI_TOO_LONG, "uri_too_long", 414)                                                           \
    X(HEADER_TOO_LARGE, "header_too_large", 431)                                                   \
    X(TOO_MANY_FIELDS, "too_many_fields", 431)                                                     \
    /* what a head says */                                                                         \
    X(HOST_MISSING, "host_missing", 400)                                                           \
    X(HOST_DUPLICATE, "host_duplicate", 400)                                                       \
    X(HOST_INVALID, "host_invalid", 400)                                                           \
    X(HOST_MISMATCH, "host_mismatch", 400) /* absolute-form and Host differ */                     \
    X(LENGTH_INVALID, "length_invalid", 400)                                                       \
    X(LENGTH_DUPLICATE, "length_duplicate", 400)                                                   \
    X(LENGTH_AND_CODING, "length_and_coding", 400) /* Content-Length with Transfer-Encoding */     \
    X(LENGTH_TOO_LARGE, "length_too_large", 413)                                                   \
    X(CODING_INVALID, "coding_invalid", 400)                                                       \
    X(CODING_UNKNOWN, "coding_unknown", 501)                                                       \
    X(CODING_ON_HTTP10, "coding_on_http10", 400)                                                   \
    X(CONNECTION_INVALID, "connection_invalid", 400) /* names a field that must stay */            \
    X(METHOD_UNKNOWN, "method_unknown", 501)                                                       \
    X(METHOD_REFUSED, "method_refused", 405) /* CONNECT, TRACE */                                  \
    X(EXPECT_UNKNOWN, "expect_unknown", 417)                                                       \
    X(UPGRADE_UNKNOWN, "upgrade_unknown", 501) /* RFC 8441: to something else than a WebSocket */  \
    X(MISDIRECTED, "misdirected", 421)         /* SNI and Host differ */                           \
    X(NO_ROUTE, "no_route", 421)               /* it had one at the handshake */                   \
    X(AUTH_REQUIRED, "auth_required", 401)                                                         \
    X(AUTH_FAILED, "auth_failed", 401)                                                             \
    X(AUTH_DUPLICATE, "auth_duplicate", 400)                                                       \
    X(AUTH_BACKOFF, "auth_backoff", 429) /* too many wrong ones from this address */               \
    X(AUTH_BUSY, "auth_busy", 503)       /* limits.authWaiting wait already */                     \
    /* the bytes of a body */                                                                      \
    X(CHUNK_INVALID, "chunk_invalid", 400)                                                         \
    X(CHUNK_EXTENSION, "chunk_extension", 400)                                                     \
    X(TRAILER_INVALID, "trailer_invalid", 400)                                                     \
    X(TRAILER_TOO_LARGE, "trailer_too_large", 431)                                                 \
    /* time, load, the client */                                                                   \
    X(HANDSHAKE_FAILED, "handshake_failed", 0)                                                     \
    X(HANDSHAKE_TIMEOUT, "handshake_timeout", 0)                                                   \
    X(UNKNOWN_NAME, "unknown_name", 0) /* no SNI, or none of ours */                               \
    X(HEADER_TIMEOUT, "header_timeout", 408)                                                       \
    X(BODY_TIMEOUT, "body_timeout", 408)                                                           \
    X(WRITE_TIMEOUT, "write_timeout", 0) /* the client takes nothing */                            \
    X(SLOW_READ, "slow_read", 0)         /* it takes less than limits.readRate */                  \
    X(CLIENT_GONE, "client_gone", 0)                                                               \
    X(NO_MEMORY, "no_memory", 503)                                                                 \
    X(LIMIT_CONNECTIONS, "limit_connections", 0)                                                   \
    X(LIMIT_ADDRESS, "limit_address", 0)                                                           \
    X(PROXY_MISSING, "proxy_missing", 0) /* none within 3 s */                                     \
    X(PROXY_INVALID, "proxy_invalid", 0)                                                           \
    /* HTTP/2: what ends a stream or a connection */                                               \
    X(H2_PROTOCOL, "h2_protocol", 0) /* against RFC 9113 */                                        \
    X(H2_STREAMS, "h2_streams", 0)                                                                 \
    X(H2_HEADS, "h2_heads", 0)   /* the heads of too many requests wait at once */                 \
    X(H2_UNLENT, "h2_unlent", 0) /* or would have to be lent, and too much is already */           \
    X(H2_HEAD_FLOOD, "h2_head_flood", 0)                                                           \
    X(H2_CONTINUATIONS, "h2_continuations", 0)                                                     \
    X(H2_RESETS, "h2_resets", 0)                                                                   \
    X(H2_CONTROL_FRAMES, "h2_control_frames", 0)                                                   \
    X(STOPPED, "stopped", 503)                                                                     \
    /* the origin */                                                                               \
    X(UPSTREAM_CONNECT, "upstream_connect", 502)                                                   \
    X(UPSTREAM_FULL, "upstream_full", 503)                                                         \
    X(UPSTREAM_CLOSED, "upstream_closed", 502)   /* before the answer was whole */                 \
    X(UPSTREAM_INVALID, "upstream_invalid", 502) /* an answer that is not well formed */           \
    X(UPSTREAM_EXTRA, "upstream_extra", 0)       /* bytes behind an answer */                      \
    X(UPSTREAM_TIMEOUT, "upstream_timeout", 504)                                                   \
    X(UPSTREAM_UPGRADE, "upstream_upgrade", 502) /* 101 that nobody asked for */                   \
    X(UPGRADE_IDLE, "upgrade_idle", 0)

#define X(name, word, status) REASON_##name,
enum traffic_reason { TRAFFIC_REASONS(X) REASON_COUNT };
#undef X

/* "bare_lf". */
const char *traffic_reason_word(enum traffic_reason reason);
/* It is the client's doing, not the origin's or ours. */
bool traffic_reason_is_clients(enum traffic_reason reason);
/* 400; 0 where no answer is sent. */
unsigned traffic_reason_status(enum traffic_reason reason);

#endif
