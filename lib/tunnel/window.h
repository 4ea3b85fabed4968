/* window - the receiver's side of one direction's flow control: how much credit is out, and when
 * more is due.  (api/tunnel.md, Flow control)
 *
 *      taken            received           granted           taken + size
 *        |<--- held ----->|<---- lent ------>|<---- due -------->|
 *
 * Invariant: taken <= received <= granted.  Granted never falls: credit is only withheld, never
 * taken back.  `charged` is what of (granted - taken) or `size`, whichever is larger, lies beyond
 * the free part (BUDGET_STREAM_FREE); it is held in the budget until it shrinks or the window is
 * closed. Once the peer has ended (window_end) nothing is lent any more: only what is held is
 * charged.
 */
#ifndef TUNNEL_WINDOW_H
#define TUNNEL_WINDOW_H

#include "tunnel/budget.h"

#define WINDOW_DUE_PARTS  4u  /* credit returns when one of so many parts of the window is due */
#define WINDOW_REST_PARTS 16u /* or one of so many of a stream at rest: less is hardly missed */

struct window {
    struct budget *budget; /* borrowed from the process */
    uint64_t taken, received, granted;
    uint64_t doubled_at; /* `taken` at the last doubling */
    uint32_t size;
    uint32_t floor; /* the initial window: size never falls below */
    bool is_ended;  /* the peer sends no more */
    uint64_t charged;
};

/* 0, -ERR_LIMIT: `initial` is beyond the free part and the budget is used up. */
MUST_USE int window_open(struct window *w, struct budget *budget, uint32_t initial);
/* The peer's FIN came: what was lent and not used is given back to the budget. */
void window_end(struct window *w);
void window_close(struct window *w); /* gives everything back; fine twice */
void window_check(const struct window *w);

/* n bytes arrived.  0, -ERR_PROTO: past the credit. */
MUST_USE int window_received(struct window *w, uint64_t n);
/* n of the held bytes were taken by our own socket: may double or shrink the window. */
void window_taken(struct window *w, uint64_t n);
/* Credit to return now: all that is due, if that is a quarter of the window or, `at_rest`, a
 * sixteenth.  0: none.  What is returned counts as granted. */
MUST_USE uint32_t window_grant(struct window *w, bool at_rest);
/* A sixteenth is due, though perhaps less than a quarter. */
bool window_is_owing(const struct window *w);

#endif
