/* hearing - a hello comes before the desk: the verdict about it (verdict.h), the session that it
 * begins or joins, and the answer to its lane.
 *
 * Whatever becomes of it is counted and the lane is told: it opens, or is refused, at once or, for
 * a wrong proof, after a second.  Control thread.  (api/tunnel.md, Handshake and sessions)
 */
#ifndef HUB_HEARING_H
#define HUB_HEARING_H

#include "tls/tls.h"
#include "wire/hello.h"

struct desk;
struct lane_record;

/* `record` is no longer among the handshakes, and its lane is known. */
void hearing_hold(struct desk *d, struct lane_record *record, const struct hello *hello,
                  const uint8_t exporter[TLS_EXPORTER_BYTES]);

#endif
