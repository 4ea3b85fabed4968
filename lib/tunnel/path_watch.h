/* path_watch - sees from a lane's own figures that its path has collapsed: that it is up and moves
 * next to nothing, as UDP does where a network polices it, while TCP on the same way is well.
 * Pure: figures and time come in.
 *
 * It judges windows of time in which there was more to send than the path let go, all the while, or
 * nothing came of what was under way (then it may be the peer's credit, lost too, that keeps the
 * rest).  A window is bad by one of these signs:
 *
 *   loss    a fifth of what left the path did not take, and the congestion window lies at its floor
 *   fall    a sixteenth of the best window's rate is left, and of its congestion window an eighth
 *   stall   in three seconds nothing at all was acknowledged
 *
 * A bad window counts one, a stalled one two, any other takes one away; at four the path has
 * collapsed.  So a link that is slow but steady never has: its windows are as good as its best, and
 * what it loses is little.  Nor has one that loses a packet in a hundred, nor a lane that is idle.
 *
 * What it cannot see is that TCP would do better: a path that was never better than slow is slow.
 * So one that is policed from its first byte is seen by `loss` alone.  A policer that leaves more
 * than the congestion window's floor carries (two packets a round trip) settles at a few percent of
 * loss and a small window, and so does a slow link with a short queue, where TLS would be as slow:
 * neither cwnd, nor packets lost, nor both tell the two apart, and a lower LOSS_PCT would send
 * every such link, and radio that loses a tenth, to TLS for quicRetrySecs and longer each time.
 * What would tell is TLS itself, and it is not there to be asked: while QUIC runs there is no lane
 * by TLS, what one once reached says little of the path now, and a transfer made up to compare them
 * would cost those most who have least.
 */
#ifndef TUNNEL_PATH_WATCH_H
#define TUNNEL_PATH_WATCH_H

#include <stdint.h>

#define PATH_WINDOW_MS       1000u   /* or eight round trips, if longer */
#define PATH_WINDOW_MAX_MS   3000u   /* or three, without evidence */
#define PATH_EVIDENCE        8u      /* packets that must have come to something in a window */
#define PATH_FLOOR_PACKETS   4u      /* a congestion window of so many is at its floor */
#define PATH_SLOW_BYTES_SEC  500000u /* what is faster has not fallen, whatever it was before */
#define PATH_COLLAPSED_SCORE 4u

/* X(name, text) */
#define PATH_SIGNS(X)                                                                              \
    X(NONE, "none")                                                                                \
    X(LOSS, "loss")                                                                                \
    X(FALL, "fall")                                                                                \
    X(STALL, "stall")
enum path_sign {
#define X(name, text) PATH_SIGN_##name,
    PATH_SIGNS(X)
#undef X
};
const char *path_sign_name(enum path_sign sign);

/* What a transport knows of its path now; the sums only grow. */
struct path_sample {
    uint64_t now_ms;
    uint64_t waiting_ms; /* how long there was more to send than the path let go, in all */
    uint64_t stalled_ms; /* how long by now bytes are under way and none was acknowledged */
    uint64_t sent;       /* bytes in full packets, in all: what was sent again, too */
    uint64_t acked;      /* bytes of data that the peer has, in all */
    uint64_t in_flight, cwnd;
    uint32_t packet; /* bytes of a full one */
    uint32_t rtt_ms; /* smoothed */
};

/* Fine zeroed. */
struct path_watch {
    struct path_sample begin;      /* of the window; now_ms 0: there is none yet */
    uint64_t best_rate, best_cwnd; /* bytes a second, bytes; of windows without a sign */
    unsigned score;
    uint64_t rate;     /* of the newest window that was judged */
    uint32_t loss_pct; /* the same, an estimate */
};

/* Some time has gone by, a fraction of PATH_WINDOW_MS.  Else than NONE: the path has collapsed now,
 * and this was the last sign of it; the score begins anew, so it is told again when it goes on. */
enum path_sign path_watch_take(struct path_watch *w, const struct path_sample *now);

#endif
