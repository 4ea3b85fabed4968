/* backoff - when to try a tunnel again: full jitter.  (api/tunnel.md, Reconnect)
 *
 * Delay = random(0, min(30, 2^n)) s, at least 100 ms.  n is 0 for the first five tries, then rises
 * by one a try, and is 0 again after 60 s of a good connection.  Pure: time and randomness come in.
 */
#ifndef TUNNEL_BACKOFF_H
#define TUNNEL_BACKOFF_H

#include <stdint.h>

#define BACKOFF_FLAT_TRIES 5
#define BACKOFF_MAX_SECS   30
#define BACKOFF_FLOOR_MS   100
#define BACKOFF_GOOD_MS    60000

struct backoff {
    unsigned tries;       /* failed in a row */
    uint64_t up_since_ms; /* 0: not connected */
};

void backoff_up(struct backoff *b, uint64_t now_ms); /* a connection is good from now on */
/* It failed, or a good one was lost: how long to wait.  `random` is uniform over 64 bits. */
uint64_t backoff_down(struct backoff *b, uint64_t now_ms, uint64_t random);

#endif
