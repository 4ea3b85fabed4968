/* hub_probe - one try of one address of the hub by one transport, for `check`: connect, handshake
 * with pin or CA, and a login that leaves nothing behind.
 *
 * The login is a hello that joins a session which does not exist.  The hub looks at the proof
 * before it looks for the session (api/tunnel.md, Hello), so `unknown_session` says that edge and
 * secret are right, while nothing begins, and a running edge of the same id and instance is not
 * displaced. Such an answer carries no proof of the hub's own: where neither pin nor CA is there,
 * who the hub is shows in a real login only.
 *
 *   DIALLING -> SHAKING -> SETTLING (QUIC: until the path's MTU is found) -> ASKED -> DONE
 */
#ifndef EDGE_HUB_PROBE_H
#define EDGE_HUB_PROBE_H

#include "edge/credentials.h"
#include "link/link.h"
#include "loop/addr.h"
#include "loop/dial.h"
#include "wire/hello.h"

#define HUB_PROBE_SETTLE_MS 1200u
#define HUB_PROBE_MS        8000u /* all of one try; the hub waits 1 s before it refuses a proof */

struct edge_conf;
struct quic;
struct quic_port;

enum hub_probe_state { PROBE_DIALLING, PROBE_SHAKING, PROBE_SETTLING, PROBE_ASKED, PROBE_DONE };

struct hub_probe {
    /* what to try */
    union addr at;
    enum link_transport transport;
    /* what came of it */
    int error; /* 0: the hub answered; or why not, as link_error() or dial say */
    char why[200];
    bool is_secure;
    char cipher[32];
    bool has_times; /* of the hub's certificate: */
    int64_t not_before, not_after;
    unsigned mtu;            /* QUIC: the largest packet found; TLS: what the kernel knows; 0 */
    enum answer_code answer; /* with error 0; ANSWER_UNKNOWN_SESSION: all is well */
    char message[ANSWER_MESSAGE_MAX + 1]; /* of it */
    /* its own */
    enum hub_probe_state state;
    struct hub_probes *all; /* borrowed */
    struct dial dial;
    struct link *link; /* owned */
    struct quic *quic; /* borrowed from the link */
    struct deadline settle;
    char literal[ADDR_TEXT_MAX];
};

/* Tries all of them at once, in a loop of its own that ends with the call.  Blocks for as long as
 * the slowest takes, HUB_PROBE_MS and a bit. */
void hub_probe_run(struct hub_probe *probes, size_t count, const struct edge_conf *conf,
                   const struct credentials *credentials);

#endif
