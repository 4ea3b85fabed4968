/* traffic_reason - why a request or a connection was refused or broken: one word each, in the
 * access log, in the body of our own answers and as a metric label.
 */
#ifndef TRAFFIC_TRAFFIC_REASON_H
#define TRAFFIC_TRAFFIC_REASON_H

#include <stdbool.h>

/* X(name, word, status, meaning): the status that is answered where an answer is still possible, 0:
 * none.  Comments are headings: scripts/reason_docs.py makes docs/reasons.md of this table. */
#define TRAFFIC_REASONS(X)                                                                         \
    X(NONE, "none", 0, "nothing was refused: the answer is the origin's, or a redirect")           \
    /* the bytes of a head */                                                                      \
    X(BAD_BYTE, "bad_byte", 400,                                                                   \
      "NUL or another control character in the request line or a field")                           \
    X(BARE_LF, "bare_lf", 400, "a line of the head ends with LF alone")                            \
    X(BARE_CR, "bare_cr", 400, "a CR without its LF in the head")                                  \
    X(OBS_FOLD, "obs_fold", 400, "a field goes on in the next line (obs-fold)")                    \
    X(BAD_REQUEST_LINE, "bad_request_line", 400,                                                   \
      "the first line is not a method, a target and a version with one blank between; over "       \
      "HTTP/2, a pseudo field came twice")                                                         \
    X(BAD_METHOD, "bad_method", 400,                                                               \
      "the method is missing or no token; over HTTP/2, :protocol without CONNECT")                 \
    X(BAD_TARGET, "bad_target", 400,                                                               \
      "the target is no path, holds a blank, # or what is no visible ASCII, or names another "     \
      "scheme")                                                                                    \
    X(BAD_VERSION, "bad_version", 505, "a version of HTTP other than 1.0 and 1.1")                 \
    X(HTTP2_PREFACE, "http2_preface", 400, "HTTP/2's preface where HTTP/1 was agreed")             \
    X(BAD_FIELD_NAME, "bad_field_name", 400,                                                       \
      "the name of a field is no token, or a blank stands behind it; over HTTP/2, it has "         \
      "capitals or is an unknown or late pseudo field")                                            \
    X(BAD_FIELD_VALUE, "bad_field_value", 400, "over HTTP/2, a field holds a byte that none may")  \
    X(PARSERS_DISAGREE, "parsers_disagree", 400,                                                   \
      "a second parser refused the head, or read another length of the body")                      \
    X(URI_TOO_LONG, "uri_too_long", 414,                                                           \
      "the request line is longer than limits.requestLineBytes")                                   \
    X(HEADER_TOO_LARGE, "header_too_large", 431,                                                   \
      "the head is longer than limits.headerBytes, or has no room for what is added to it")        \
    X(TOO_MANY_FIELDS, "too_many_fields", 431, "more fields than limits.headerFields")             \
    /* what a head says */                                                                         \
    X(HOST_MISSING, "host_missing", 400, "neither Host nor :authority")                            \
    X(HOST_DUPLICATE, "host_duplicate", 400, "Host or :authority came twice")                      \
    X(HOST_INVALID, "host_invalid", 400, "Host is no name or address with a port or without one")  \
    X(HOST_MISMATCH, "host_mismatch", 400,                                                         \
      "an absolute target and Host differ; over HTTP/2, :authority and Host")                      \
    X(LENGTH_INVALID, "length_invalid", 400,                                                       \
      "Content-Length is no number, or not what came (HTTP/2)")                                    \
    X(LENGTH_DUPLICATE, "length_duplicate", 400, "Content-Length came twice")                      \
    X(LENGTH_AND_CODING, "length_and_coding", 400, "Content-Length beside Transfer-Encoding")      \
    X(LENGTH_TOO_LARGE, "length_too_large", 413,                                                   \
      "the body is longer than maxBodyBytes of the route, or than any number")                     \
    X(CODING_INVALID, "coding_invalid", 400,                                                       \
      "Transfer-Encoding came twice, or chunked is not its last coding")                           \
    X(CODING_UNKNOWN, "coding_unknown", 501, "a transfer coding other than chunked")               \
    X(CODING_ON_HTTP10, "coding_on_http10", 400, "Transfer-Encoding in HTTP/1.0")                  \
    X(CONNECTION_INVALID, "connection_invalid", 400,                                               \
      "Connection names a field that must stay, or more than 32; over HTTP/2, a field of the "     \
      "connection came")                                                                           \
    X(METHOD_UNKNOWN, "method_unknown", 501, "a method that nobody knows")                         \
    X(METHOD_REFUSED, "method_refused", 405, "CONNECT or TRACE")                                   \
    X(EXPECT_UNKNOWN, "expect_unknown", 417, "Expect says something else than 100-continue")       \
    X(UPGRADE_UNKNOWN, "upgrade_unknown", 501,                                                     \
      "over HTTP/2, an upgrade to something else than a WebSocket (RFC 8441)")                     \
    X(MISDIRECTED, "misdirected", 421, "Host is not the name of the TLS handshake")                \
    X(NO_ROUTE, "no_route", 421, "the name had a route at the handshake and has none now")         \
    X(AUTH_REQUIRED, "auth_required", 401, "no credentials, and the route asks for them")          \
    X(AUTH_FAILED, "auth_failed", 401, "wrong credentials, or ones that are not well formed")      \
    X(AUTH_DUPLICATE, "auth_duplicate", 400, "Authorization came twice")                           \
    X(AUTH_BACKOFF, "auth_backoff", 429,                                                           \
      "auth.failures wrong credentials in a row from this address: it has to wait, up to 60 s")    \
    X(AUTH_BUSY, "auth_busy", 503, "limits.authWaiting passwords wait to be checked already")      \
    /* the bytes of a body */                                                                      \
    X(CHUNK_INVALID, "chunk_invalid", 400, "a chunk of the body is not well formed")               \
    X(CHUNK_EXTENSION, "chunk_extension", 400,                                                     \
      "a chunk extension is not well formed, or they have more than 256 bytes")                    \
    X(TRAILER_INVALID, "trailer_invalid", 400,                                                     \
      "a trailer is not well formed, or may not be there")                                         \
    X(TRAILER_TOO_LARGE, "trailer_too_large", 431, "trailers of more than 4 KiB or 32 fields")     \
    /* time, load, the client */                                                                   \
    X(HANDSHAKE_FAILED, "handshake_failed", 0, "TLS failed, or was not spoken")                    \
    X(HANDSHAKE_TIMEOUT, "handshake_timeout", 0,                                                   \
      "no end of the TLS handshake within timeouts.handshakeSecs")                                 \
    X(UNKNOWN_NAME, "unknown_name", 0,                                                             \
      "the handshake names no host (no SNI), or none that has a route")                            \
    X(HEADER_TIMEOUT, "header_timeout", 408, "no end of the head within timeouts.headerSecs")      \
    X(BODY_TIMEOUT, "body_timeout", 408,                                                           \
      "nothing of the body for timeouts.bodyIdleSecs, or less than 250 bytes a second")            \
    X(WRITE_TIMEOUT, "write_timeout", 0, "the client took nothing for timeouts.bodyIdleSecs")      \
    X(SLOW_READ, "slow_read", 0, "the client took less than limits.readRate")                      \
    X(CLIENT_GONE, "client_gone", 0, "the client closed or reset before its answer was whole")     \
    X(NO_MEMORY, "no_memory", 503, "no memory, or limits.poolChunks buffers are in use")           \
    X(LIMIT_CONNECTIONS, "limit_connections", 0, "limits.connections are open")                    \
    X(LIMIT_ADDRESS, "limit_address", 0, "limits.connectionsPerAddress are open of this address")  \
    X(PROXY_MISSING, "proxy_missing", 0,                                                           \
      "a peer of proxyProtocol.trusted sent no PROXY header within 3 s")                           \
    X(PROXY_INVALID, "proxy_invalid", 0,                                                           \
      "a peer of proxyProtocol.trusted sent something else than a PROXY header")                   \
    /* HTTP/2: what ends a stream or a connection */                                               \
    X(H2_PROTOCOL, "h2_protocol", 0, "against RFC 9113")                                           \
    X(H2_STREAMS, "h2_streams", 0, "more streams at once than limits.h2Streams")                   \
    X(H2_HEADS, "h2_heads", 0,                                                                     \
      "the requests of the connection would hold more than limits.h2HeadsBytes")                   \
    X(H2_UNLENT, "h2_unlent", 0,                                                                   \
      "they would hold more than is left of limits.h2SharedBytes: none of the client's doing")     \
    X(H2_HEAD_FLOOD, "h2_head_flood", 0, "a head of four times what may be")                       \
    X(H2_CONTINUATIONS, "h2_continuations", 0,                                                     \
      "more CONTINUATION frames in one head than limits.h2Continuations")                          \
    X(H2_RESETS, "h2_resets", 0, "more resets than limits.h2Resets")                               \
    X(H2_CONTROL_FRAMES, "h2_control_frames", 0,                                                   \
      "more frames that carry nothing than limits.h2ControlFrames")                                \
    /* our own end */                                                                              \
    X(STOPPED, "stopped", 503, "traffic ends, and drainSecs are over")                             \
    /* the origin */                                                                               \
    X(UPSTREAM_CONNECT, "upstream_connect", 502, "no destination could be reached")                \
    X(UPSTREAM_FULL, "upstream_full", 503,                                                         \
      "limits.upstreamConnections are open to every destination")                                  \
    X(UPSTREAM_CLOSED, "upstream_closed", 502, "the origin closed before its answer was whole")    \
    X(UPSTREAM_INVALID, "upstream_invalid", 502,                                                   \
      "the origin's answer is not well formed, or too large")                                      \
    X(UPSTREAM_EXTRA, "upstream_extra", 0,                                                         \
      "the origin sent bytes behind its answer: the connection is not used again")                 \
    X(UPSTREAM_TIMEOUT, "upstream_timeout", 504,                                                   \
      "the origin did not connect within timeouts.connectSecs, or was silent for "                 \
      "timeouts.bodyIdleSecs")                                                                     \
    X(UPSTREAM_UPGRADE, "upstream_upgrade", 502,                                                   \
      "the origin upgraded (101) unasked, or to something else")                                   \
    X(UPGRADE_IDLE, "upgrade_idle", 0,                                                             \
      "nothing moved in an upgraded connection for timeouts.upgradeIdleSecs")

#define X(name, word, status, meaning) REASON_##name,
enum traffic_reason { TRAFFIC_REASONS(X) REASON_COUNT };
#undef X

/* "bare_lf". */
const char *traffic_reason_word(enum traffic_reason reason);
/* It is the client's doing, not the origin's or ours. */
bool traffic_reason_is_clients(enum traffic_reason reason);
/* 400; 0 where no answer is sent. */
unsigned traffic_reason_status(enum traffic_reason reason);

#endif
