/* h2_closed - the streams of a connection that closed last, and who closed them.
 *
 * A frame may still come for a stream that we have reset, since the client cannot know it yet; for
 * one that the client itself has ended or reset it is an error (RFC 9113 5.1), and so is a number
 * that was passed over (5.1.1).
 *
 * How many are remembered: while our reset is on its way, each of the streams that the client may
 * have at once can close, and the one that it opens in place of it as well.
 */
#ifndef TRAFFIC_H2_CLOSED_H
#define TRAFFIC_H2_CLOSED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/must.h"

#define H2_CLOSED_MIN 128u /* a client that has not read our settings yet may believe in 100 */

struct h2_closed {
    unsigned at, count;
    uint32_t *ids; /* owned: `count` numbers, doubled, and one more when we have reset it */
};

enum h2_closed_by { H2_CLOSED_UNKNOWN, H2_CLOSED_BY_CLIENT, H2_CLOSED_BY_US };

/* For a connection that may have so many streams at once.  0, -ERR_NOMEM. */
MUST_USE int h2_closed_init(struct h2_closed *c, unsigned streams_max);
void h2_closed_fini(struct h2_closed *c); /* fine on a zeroed one */
void h2_closed_add(struct h2_closed *c, int32_t id, bool by_us);
enum h2_closed_by h2_closed_find(const struct h2_closed *c, int32_t id);

#endif
