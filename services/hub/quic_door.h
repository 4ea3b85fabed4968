/* quic_door - the tunnel port's UDP side: edges that dial by QUIC.
 *
 * Each worker has sockets of its own on the same number and accepts there by itself; which of them
 * a packet comes to is in its connection id (quic/quic.h).  So a connection never changes its
 * worker, and the edge picks one by the first byte of the id that it dials with: its lane's number.
 *
 * Before it is known who knocks: each connection asks the desk (desk.h), as those of the TCP side
 * do.  From as many before their handshake as half of limits.handshakesPerSource or an eighth of
 * limits.handshakes, whichever is less, an address must first show that it is one (Retry).  So what
 * forged addresses take is a part of the whole, and of nobody's share (admission.h).
 */
#ifndef HUB_QUIC_DOOR_H
#define HUB_QUIC_DOOR_H

#include "hub/hub_worker.h"

/* Parts of limits.handshakesPerSource and of limits.handshakes from which on Retry is asked for. */
#define QUIC_DOOR_SOURCE_PARTS 2
#define QUIC_DOOR_TOTAL_PARTS  8

struct hub_conf;

struct quic_door {
    int *fds; /* owned until quic_door_start(): `sets` times `workers` */
    unsigned sets, workers;
};

/* Binds for all workers; port 0 becomes the one that was taken.  0, -ERR_SYS with `why`. */
MUST_USE int quic_door_bind(struct quic_door *d, union addr *at, unsigned workers, char *why,
                            size_t why_size);
/* Hands each worker its sockets; they accept from now on.  0, -ERR_IO with `why`: the keys of Retry
 * and stateless reset are neither there nor can they be made. */
MUST_USE int quic_door_start(struct quic_door *d, struct hub_worker *workers,
                             const struct hub_conf *conf, char *why, size_t why_size);
void quic_door_fini(struct quic_door *d); /* fine on a zeroed one and twice */

#endif
