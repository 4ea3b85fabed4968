/* h2_guard - how much of what costs the client nothing it may do: buckets of tokens that fill up
 * again with time.  What a client does in good faith never comes near the bottom; an attack of
 * resets or of control frames is there within a second.
 *
 *   resets          a stream reset by the client, or by us since the client broke a rule
 *                   (CVE-2023-44487, CVE-2025-8671), a head that is too large
 *   control frames  PING, SETTINGS, PRIORITY, WINDOW_UPDATE, DATA that is empty or all padding,
 *                   HEADERS of a stream that we have closed; what needs such frames in answer,
 *                   requests and DATA, gives tokens back
 */
#ifndef TRAFFIC_H2_GUARD_H
#define TRAFFIC_H2_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#define H2_GUARD_REFILL_SECS 10u /* from empty to full */

struct h2_bucket {
    uint64_t burst, used; /* used <= burst */
    uint64_t since_ms;    /* counted up to then */
};

void h2_bucket_init(struct h2_bucket *b, uint64_t burst, uint64_t now_ms); /* burst > 0 */
/* Takes one token.  False: there is none. */
bool h2_bucket_take(struct h2_bucket *b, uint64_t now_ms);
void h2_bucket_give(struct h2_bucket *b, uint64_t n);

#endif
