/* proxy_intake - the PROXY header in front of a client connection: who must send one, reading it,
 * and what it says.
 *
 * A peer in a trusted network must send a header, v1 or v2, first of all and within 3 s; from any
 * other peer none is looked for (its header is then bytes of TLS or HTTP, and fails as such).
 * haproxy's proxy-protocol.txt, sections 2.1, 2.2 and 4.
 */
#ifndef TRAFFIC_PROXY_INTAKE_H
#define TRAFFIC_PROXY_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/listener.h"
#include "wire/proxy.h"

#define PROXY_INTAKE_MS 3000u

/* Reads from the socket exactly the header's bytes, none behind it. */
struct proxy_intake {
    struct proxy_reader reader;
};

void proxy_intake_init(struct proxy_intake *p);
/* IO_OK: the header is whole; *client is what it tells, or stays as it was (LOCAL, UNKNOWN).
 * IO_WAIT: for the descriptor.  IO_EOF, IO_FAIL: no valid header, close. */
MUST_USE enum io proxy_intake_run(struct proxy_intake *p, int fd, union addr *client);

/* --- trusted networks --------------------------------------------------------------------- */

struct proxy_net {
    union addr base; /* IPv4-mapped addresses are stored as IPv4; no port */
    unsigned bits;
};

/* An immutable, counted list. */
struct proxy_trust {
    _Atomic unsigned refs;
    size_t count, room;
    struct proxy_net *nets; /* owned */
};

struct proxy_trust *proxy_trust_new(void); /* trusts nobody; one reference */
struct proxy_trust *proxy_trust_ref(struct proxy_trust *trust);
void proxy_trust_unref(struct proxy_trust *trust); /* any thread; fine with NULL */
/* Before it is published.  "10.0.0.0/8", "2001:db8::/32", "192.0.2.1".  0; -ERR_SYNTAX: neither an
 * address nor a network (a name, say). */
MUST_USE int proxy_trust_add(struct proxy_trust *trust, const char *text);
void proxy_trust_add_address(struct proxy_trust *trust, const union addr *address);
bool proxy_trust_has(const struct proxy_trust *trust, const union addr *peer);

#endif
