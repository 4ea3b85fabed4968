/* stun - the question "from which address do you see me?" and its answers: Binding by RFC 8489, and
 * what servers of RFC 3489 say to it.
 *
 *     0       2       4               8                 20
 *     | type  | len   | 0x2112a442    | transaction id  | attributes ...     big-endian
 *
 * A message that is malformed, is no answer, or answers another question is to be passed over as if
 * it had not come (section 6.3): whoever can send to our port could else end the question.  Text
 * and credentials in an answer are not looked at.  No socket, no clock.
 */
#ifndef WIRE_STUN_H
#define WIRE_STUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"

#define STUN_PORT          3478
#define STUN_ID_BYTES      12
#define STUN_REQUEST_BYTES 28   /* the header and a FINGERPRINT */
#define STUN_TRY_ALTERNATE 300  /* section 10: an error code */
#define STUN_ANSWER_MAX    1500 /* what is read of a datagram; a longer one is no answer */

enum stun_kind {
    STUN_MAPPED,  /* address and port */
    STUN_ERROR,   /* error_code: the server refuses; an address when it names another server */
    STUN_USELESS, /* no address and no error, or it demands to understand what we do not */
};

struct stun_answer {
    enum stun_kind kind;
    bool has_address, is_ipv6;
    uint8_t address[16]; /* IPv4: the first four */
    uint16_t port;
    unsigned error_code; /* 300 to 699 */
};

/* `id` is to be random (section 5): who cannot see it cannot answer. */
void stun_request_emit(uint8_t out[STUN_REQUEST_BYTES], const uint8_t id[STUN_ID_BYTES]);

/* One datagram, whole.  0: it answers the question `id`; -ERR_PROTO: malformed (a FINGERPRINT that
 * is wrong, too); -ERR_NOT_FOUND: well-formed so far, but of another kind or transaction. */
MUST_USE int stun_answer_parse(struct stun_answer *out, const uint8_t id[STUN_ID_BYTES],
                               const uint8_t *src, size_t n);

/* How long to wait after request number `sent` (from 1) of at most `tries`: rto_ms, doubled with
 * each, and 16 times rto_ms after the last (section 6.2.1, Rm). */
uint64_t stun_wait_ms(unsigned sent, unsigned tries, unsigned rto_ms);

#endif
