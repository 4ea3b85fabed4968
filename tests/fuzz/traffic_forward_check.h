/* traffic_forward_check - what goes to an origin for a request that was accepted, whatever version
 * it came in, reads back as the same request: one Host, one framing, no field but those that may.
 */
#ifndef FUZZ_TRAFFIC_FORWARD_CHECK_H
#define FUZZ_TRAFFIC_FORWARD_CHECK_H

#include "traffic/forward_headers.h"
#include "traffic/h1_emit.h"
#include "traffic/h1_request.h"
#include "traffic_h1_check.h"

static inline unsigned count_fields(const struct http_request *r, enum http_field_id id)
{
    unsigned count = 0;

    for (unsigned i = 0; i < r->fields.count; i++)
        count += r->fields.list[i].id == id;
    return count;
}

static inline bool is_same(struct http_text a, struct http_text b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* What goes to the origin, read as strictly as it came. */
static inline void check_forwarded(struct http_request *r)
{
    static const struct h1_limits wide = {65535, 65535, HTTP_FIELDS_MAX};
    static struct http_request back;
    static char bytes[16384];
    char extras[FORWARD_EXTRAS_MAX];
    struct h1_text text = {.p = bytes, .size = sizeof(bytes)};
    struct forward_client client = {.address = "2001:db8::1", .is_ipv6 = true};
    struct h1_scan scan;
    size_t n = forward_extras(extras, &client, r->authority);

    if (n == 0)
        return; /* a Host longer than any name: refused before it comes here */
    forward_request_filter(r, true);
    h1_request_emit(&text, r, (struct http_text){extras, n});
    must(!text.is_cut);
    must(find_head(&scan, (const uint8_t *)bytes, text.n, &wide, 0) == REASON_NONE);
    must(scan.head_len == text.n);
    must(h1_request_parse(&back, bytes, &scan, &wide, "https") == REASON_NONE);
    must(is_same(back.method, r->method) && is_same(back.target, r->target));
    must(is_same(back.authority, r->authority));
    must(back.framing == r->framing && (r->framing != HTTP_LENGTH || back.length == r->length));
    must(is_same(back.upgrade, r->upgrade));
    must(back.expects_continue == r->expects_continue);
    must(count_fields(&back, FIELD_HOST) == 1);
    must(count_fields(&back, FIELD_CONTENT_LENGTH) + count_fields(&back, FIELD_TRANSFER_ENCODING) ==
         (r->framing == HTTP_NO_BODY ? 0 : 1));
    must(count_fields(&back, FIELD_FORWARDED) == 4); /* ours alone */
    must(count_fields(&back, FIELD_LOOKALIKE) == 0);
    must(count_fields(&back, FIELD_AUTHORIZATION) == 0);
}

#endif
