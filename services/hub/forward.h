/* forward - one client's connection on its way from the tunnel to a target.
 *
 *   CONNECTING -> RELAYING -> CLOSED        any -> CLOSED
 *
 *   CONNECTING  the target is looked up and dialled; what the client sends waits in the stream (the
 *               window bounds it), its FIN too; its reset ends the forward
 *   RELAYING    link/relay.h moves bytes, ends and resets, after the PROXY header
 *   CLOSED      freed by the loop
 *
 * On the worker of its lane.  It outlives its lane's link where a target has not taken yet what
 * came before an orderly end (limits.flushSecs); its lane's memory waits for it.
 */
#ifndef HUB_FORWARD_H
#define HUB_FORWARD_H

#include "hub/hub_lane.h"
#include "link/relay.h"
#include "tunnel/stream.h"
#include "wire/proxy.h"

enum forward_state { FORWARD_CONNECTING, FORWARD_RELAYING, FORWARD_CLOSED };

struct forward {
    enum forward_state state;  /* written by forward_enter() only */
    enum stream_result result; /* CLOSED */
    struct hub_lane *lane;     /* borrowed: waits for its forwards */
    struct list in_lane, in_young;
    struct stream stream;
    struct relay relay;
    struct forward_dial *dial; /* owned while CONNECTING */
    struct target target;
    struct proxy_header client;
    struct deadline flush; /* of a target that does not take the end */
    struct ready ready;
    struct reap reap;
    uint64_t opened_ms;
};

const char *forward_state_name(enum forward_state state);

/* For an OPEN of the edge: lane_ops.on_open (tunnel/lane.h). */
struct stream *forward_open(struct hub_lane *lane, const struct proxy_header *client,
                            enum stream_reset *refuse);
/* From time to time, on the worker: targets of streams that have lived for a while get keep-alive,
 * which is four system calls and a timer that most streams never need. */
void forward_tick(struct hub_worker *w);
/* With the process: at once, without a word. */
void forward_stop(struct forward *f);

#endif
