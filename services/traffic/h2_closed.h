/* h2_closed - the streams of a connection that closed last, and who closed them.
 *
 * A frame may still come for a stream that we have reset, since the client cannot know it yet; for
 * one that the client itself has ended or reset it is an error (RFC 9113 5.1), and so is a number
 * that was passed over (5.1.1).  As many are remembered as may be under way at once, at least.
 */
#ifndef TRAFFIC_H2_CLOSED_H
#define TRAFFIC_H2_CLOSED_H

#include <stdbool.h>
#include <stdint.h>

#define H2_CLOSED_COUNT 128u

struct h2_closed {
    unsigned at;
    uint32_t ids[H2_CLOSED_COUNT]; /* the number doubled, and one more when we have reset it */
};

enum h2_closed_by { H2_CLOSED_UNKNOWN, H2_CLOSED_BY_CLIENT, H2_CLOSED_BY_US };

void h2_closed_add(struct h2_closed *c, int32_t id, bool by_us);
enum h2_closed_by h2_closed_find(const struct h2_closed *c, int32_t id);

#endif
