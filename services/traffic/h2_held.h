/* h2_held - what one client connection over HTTP/2 makes us hold, and by what right.
 *
 * HPACK makes kilobytes of one byte (CVE-2026-49975), and a stream costs its client a dozen bytes
 * and us two thousand.  So all of it is counted: what nghttp2 has allocated (HPACK's table, its
 * streams, frames that wait), what a stream of ours takes until it ends, a request's head until its
 * answer begins, a head under way.
 *
 *   held <= own + lent <= limits.h2HeadsBytes     own = max(H2_HELD_OWN, H2_HELD_FACTOR x sent)
 *
 * What a connection has sent buys it memory, as much as an attacker must pay too.  A browser that
 * opens a hundred streams with its very first bytes needs more for a moment: that is lent, out of
 * limits.h2SharedBytes which all connections of the process share, so a thousand that want the same
 * at once get no more than one may:
 *
 *   lent to the connection + lent to its address  <=  H2_HELD_SHARE x what is left
 *
 * So all connections of one address never have more than nine tenths, and none of them all of that;
 * who comes from elsewhere finds the rest.  (Dynamic thresholds, as in tunnel/budget.h: many may be
 * behind one address, so one that is alone gets nearly all.)  One request is always taken.
 */
#ifndef TRAFFIC_H2_HELD_H
#define TRAFFIC_H2_HELD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define H2_HELD_OWN    8192u
#define H2_HELD_FACTOR 2u
#define H2_HELD_SHARE  9u

struct h2_held {
    uint64_t sent;         /* bytes of the client */
    uint64_t library;      /* nghttp2's, as its allocator counts */
    uint64_t library_base; /* of them, what every connection begins with */
    uint64_t requests;     /* streams, heads */
    uint64_t lent;         /* of *shared */
    /* Borrowed from the workers' shared part: lent to all, and of that to the client's address. */
    _Atomic uint64_t *shared, *address;
};

struct h2_held_limits {
    uint64_t connection; /* limits.h2HeadsBytes */
    uint64_t shared;     /* limits.h2SharedBytes */
};

enum h2_held_verdict {
    H2_HELD_TAKEN,
    H2_HELD_FULL,   /* the connection holds as much as one may */
    H2_HELD_UNLENT, /* it would have to be lent, and too much is: perhaps to others */
};

/* How much is held now. */
uint64_t h2_held_bytes(const struct h2_held *h);
/* For n bytes more.  Else than TAKEN: they must not be held; nothing has changed. */
enum h2_held_verdict h2_held_take(struct h2_held *h, size_t n, const struct h2_held_limits *limits);
void h2_held_give(struct h2_held *h, size_t n); /* n of what was taken are free again */
/* The connection is over: what was lent goes back. */
void h2_held_end(struct h2_held *h);

#endif
