/* h2_head - a section of fields of HTTP/2 as it comes, field by field, and the request or the
 * trailers that it makes.
 *
 * A request becomes what one of HTTP/1 would be (struct http_request): :authority or Host is its
 * authority, the crumbs of Cookie are one field again, an extended CONNECT (RFC 8441) is a GET that
 * asks for an upgrade.  Every byte is checked as if it had come in HTTP/1, whatever the library has
 * checked before, since it will go on in HTTP/1: RFC 9113 sections 8.2 and 8.3, 10.3.
 */
#ifndef TRAFFIC_H2_HEAD_H
#define TRAFFIC_H2_HEAD_H

#include "traffic/h1_gather.h"
#include "traffic/h1_scan.h"
#include "ws/handshake.h"

#define H2_FIELD_COST 32u /* RFC 9113 6.5.2: what each field counts besides its bytes */
#define H2_HEAD_FLOOD 4u  /* so many times the limits is no mistake any more */

/* The key of a WebSocket's opening handshake, made here: over HTTP/2 the client has none (RFC
 * 8441), and the origin, which speaks HTTP/1.1, wants one (RFC 6455 4.2.2). */
struct h2_websocket {
    char key[WS_KEY_TEXT];       /* Sec-WebSocket-Key */
    char accept[WS_ACCEPT_TEXT]; /* Sec-WebSocket-Accept that proves the origin understood */
};

struct h2_head {
    struct h1_gather text;      /* the fields, each with its lengths in front */
    size_t bytes;               /* of the section, as RFC 9113 6.5.2 counts */
    unsigned count;             /* fields without the pseudo ones */
    bool is_extended;           /* :protocol came: an extended CONNECT */
    enum traffic_reason reason; /* the first fault */
};

void h2_head_fini(struct h2_head *h); /* gives the memory back; usable again */
/* One more field.  What is too much is counted and not kept.  False: far too much. */
bool h2_head_add(struct h2_head *h, struct http_text name, struct http_text value,
                 const struct h1_limits *limits);
/* It must not be held: its memory is free, nothing more of it is kept. */
void h2_head_give_up(struct h2_head *h, enum traffic_reason reason);
/* The section is whole.  `ended`: no body follows.  Texts in *out point into h->text, w and static
 * memory; with a fault it has what could be read of method and target.  `w` is needed with
 * h->is_extended. */
enum traffic_reason h2_head_request(struct h2_head *h, struct http_request *out, bool ended,
                                    const struct h2_websocket *w);
enum traffic_reason h2_head_trailers(struct h2_head *h, struct http_fields *out, size_t max_bytes);

#endif
