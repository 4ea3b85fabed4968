/* change_rate - how often the management API changes something: so many requests a second on
 * average over ten seconds, whoever sends them.
 *
 * A bucket that holds ten seconds' worth and is filled as time goes by; each request of a change
 * takes one out, a dry run too, which costs as much to check.  No clock: the time comes in.
 */
#ifndef ADMIN_CHANGE_RATE_H
#define ADMIN_CHANGE_RATE_H

#include <stdbool.h>
#include <stdint.h>

#define CHANGE_RATE_SECS 10 /* the average is over so many */
#define CHANGE_RATE_MAX  1000000

struct change_rate {
    unsigned per_sec;    /* 0: no limit */
    uint64_t left_milli; /* thousandths of requests; at most per_sec * CHANGE_RATE_SECS * 1000 */
    uint64_t filled_ms;  /* until when it has been filled */
};

/* Another rate, at most CHANGE_RATE_MAX, with a full bucket. */
void change_rate_set(struct change_rate *c, unsigned per_sec, uint64_t now_ms);
/* True: this one may go on, and is counted.  False: too many; the next may in *wait_secs (1 or
 * more). */
bool change_rate_take(struct change_rate *c, uint64_t now_ms, unsigned *wait_secs);

#endif
