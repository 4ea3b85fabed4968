/* hello - the two lines of JSON that begin a connection: the edge's hello, the hub's answer.
 *
 * The hub looks at a hello in this order, and the first that fails decides the answer:
 *
 *   the line     hello_parse()                       too long: close without a word
 *                                                    else bad_request
 *   the version  hello.version != WIRE_VERSION       unsupported_version
 *   the proof    edge_id, is_proof_formed, proof     unauthorized
 *   the rest     hello.rest_fault                    bad_request
 *                session, lane, limits               unknown_session, lane_in_use, ...
 *
 * Emit functions return a text of the caller's (free) that ends in '\n'.  api/tunnel.md
 * "Handshake".
 */
#ifndef WIRE_HELLO_H
#define WIRE_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"
#include "wire/control.h"
#include "wire/identity.h"
#include "wire/proof.h"
#include "wire/why.h"

#define WIRE_VERSION       1
#define WIRE_ALPN          "penstock/1"
#define HELLO_MAX          4096  /* bytes of the line, its newline with it */
#define ANSWER_MAX         65536 /* the same of the answer */
#define LANE_MAX           65535
#define SOFTWARE_MAX       127
#define FEATURES_MAX       16
#define FEATURE_MAX        32
#define ANSWER_MESSAGE_MAX 255
#define INITIAL_WINDOW     65536
#define INITIAL_WINDOW_MIN 4096
#define INITIAL_WINDOW_MAX (1024 * 1024)

/* The edge is told when the hub sees its direction of a path by QUIC collapse. */
#define FEATURE_COLLAPSE "pathCollapsed"

/* Names of extensions.  Longer names and further ones are no feature of ours: passed over. */
struct feature_list {
    char names[FEATURES_MAX][FEATURE_MAX + 1];
    size_t count;
};

bool feature_list_has(const struct feature_list *l, const char *name);
void feature_list_add(struct feature_list *l, const char *name);

struct hello {
    int64_t version;                 /* 0 where it is beyond an int64_t: it is no version of ours */
    char edge_id[EDGE_ID_MAX + 1];   /* "": not an id, so that of no edge */
    char instance[INSTANCE_MAX + 1]; /* "" when it is at fault */
    bool has_session;                /* joins one */
    bool is_session_formed;          /* false: not 128 bits of base64url, so no session at all */
    uint8_t session[SESSION_BYTES];
    uint32_t lane;
    bool is_proof_formed; /* false: a wrong proof */
    uint8_t proof[PROOF_BYTES];
    char software[SOFTWARE_MAX + 1]; /* cut; for people */
    struct feature_list features;
    const char *rest_fault; /* static; NULL: nothing wrong with the rest */
};

/* Give all that has come so far.  > 0: a line of that many bytes, the newline with it; 0: no
 * newline yet; -ERR_TOO_BIG: longer than HELLO_MAX: close without an answer; -ERR_PROTO:
 * bad_request, *why says why (bytes behind the line are such a reason: an edge waits for the
 * answer). */
MUST_USE int hello_parse(struct hello *out, const uint8_t *src, size_t n, struct wire_why *why);
/* Every field must be valid (rest_fault and is_..._formed are not looked at). */
char *hello_emit(const struct hello *h, size_t *len) MUST_USE;

#define ANSWER_CODES(X)                                                                            \
    X(BAD_REQUEST, "bad_request")                                                                  \
    X(UNSUPPORTED_VERSION, "unsupported_version")                                                  \
    X(UNAUTHORIZED, "unauthorized")                                                                \
    X(UNKNOWN_SESSION, "unknown_session")                                                          \
    X(EDGE_DISABLED, "edge_disabled")                                                              \
    X(LANE_IN_USE, "lane_in_use")                                                                  \
    X(TOO_MANY_LANES, "too_many_lanes")                                                            \
    X(OVERLOADED, "overloaded")

/* ANSWER_OK is no error; ANSWER_OTHER an error code that this version does not know. */
enum answer_code {
    ANSWER_OK,
#define X(name, text) ANSWER_##name,
    ANSWER_CODES(X)
#undef X
        ANSWER_OTHER
};

const char *answer_name(enum answer_code code); /* "ok", "bad_request", ..., "other" */

struct answer {
    enum answer_code code;
    /* ANSWER_OK */
    char edge_id[EDGE_ID_MAX + 1];
    bool is_proof_formed; /* false: a wrong proof */
    uint8_t proof[PROOF_BYTES];
    uint8_t session[SESSION_BYTES];
    uint32_t initial_window;
    struct feature_list features;
    struct wire_config config; /* owned */
    /* an error */
    char message[ANSWER_MESSAGE_MAX + 1];
    uint32_t retry_after_secs; /* 0: no wait asked for; parsed: at most RETRY_UNPROVEN_MAX_SECS */
};

void answer_fini(struct answer *a);
/* > 0: a line of that many bytes, what follows it are frames; 0: no newline yet; -ERR_TOO_BIG:
 * longer than ANSWER_MAX; -ERR_PROTO: no answer of this protocol.  Unless > 0, *out is empty. */
MUST_USE int answer_parse(struct answer *out, const uint8_t *src, size_t n, struct wire_why *why);
char *answer_emit(const struct answer *a, size_t *len) MUST_USE; /* code is not OTHER */

#endif
