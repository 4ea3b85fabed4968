/* fake_quic_side - the machine that drives one lane of fake_quic.h, as link/link_quic.c does.  For
 * fake_quic.c alone: each step ticks and runs both sides, then delivers to them.
 */
#ifndef SUPPORT_FAKE_QUIC_SIDE_H
#define SUPPORT_FAKE_QUIC_SIDE_H

#include "support/fake_quic.h"

/* lane_tick() when the lane's deadline has come; a deadline that came nearer without a wake fails
 * the test. */
void fake_quic_side_tick(struct fake_quic_side *side);
/* Out of the lane, when it was woken or packets may leave again: resets, credit, control stream,
 * streams.  Output that nothing woke it for fails the test. */
void fake_quic_side_run(struct fake_quic_side *side);
/* Into the lane: the frames, signs and acknowledgements that arrive now. */
void fake_quic_side_deliver(struct fake_quic_side *to);

#endif
