/* hub_lane_mail - what the desk (desk.h) decides about a lane, as messages to its worker.
 *
 * From the control thread, until it has posted `forget`.  They run in the order in which they were
 * posted; one that finds the link dead does nothing (hub_lane.h has the picture).
 */
#ifndef HUB_HUB_LANE_MAIL_H
#define HUB_HUB_LANE_MAIL_H

#include <stddef.h>
#include <stdint.h>

#include "tunnel/authority.h"
#include "wire/control.h"
#include "wire/hello.h"

struct edge;
struct hub_lane;

/* The answer `line` (ended by '\n', moved) goes out and the lane opens, as one of the edge. */
void hub_lane_post_open(struct hub_lane *lane, char *line, size_t n,
                        const struct authority_pair *authority, const struct edge *edge,
                        const uint8_t session[SESSION_BYTES]);
/* An error answer (moved), after `delay_ms`. */
void hub_lane_post_refuse(struct hub_lane *lane, char *line, size_t n, enum answer_code code,
                          unsigned delay_ms);
/* Closes without a word. */
void hub_lane_post_drop(struct hub_lane *lane);
/* The ports in force; with a `config` (moved; or NULL) that this lane has to carry. */
void hub_lane_post_authority(struct hub_lane *lane, const struct authority_pair *authority,
                             char *config);
void hub_lane_post_goodbye(struct hub_lane *lane, enum goodbye_code code, const char *message,
                           uint32_t retry_after_secs);
/* DRAIN: the edge looks for another hub; what is open may finish for `secs`. */
void hub_lane_post_drain(struct hub_lane *lane, uint32_t secs);
/* The desk took a CONFIG_ACK: the next one may come. */
void hub_lane_post_ack_taken(struct hub_lane *lane);
/* The last message. */
void hub_lane_post_forget(struct hub_lane *lane);

#endif
