/* Fuzz target of the reading of requests (h1_scan, h1_request, h1_body): however the bytes are cut
 * the verdict is the same; what is accepted is one message to llhttp as well; and what is sent to
 * the origin for it reads back as the same request, with one Host and one framing. */
#include "traffic/forward_headers.h"
#include "traffic/h1_emit.h"
#include "traffic/h1_request.h"
#include "traffic_h1_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = {4096, 2048, 64};

static bool is_accepted(struct http_request *r, struct h1_scan *scan, const uint8_t *data,
                        size_t size, size_t first)
{
    if (find_head(scan, data, size, &limits, first) != REASON_NONE || scan->head_len == 0)
        return false;
    return h1_request_parse(r, (const char *)data, scan, &limits, "https") == REASON_NONE;
}

static unsigned count_fields(const struct http_request *r, enum http_field_id id)
{
    unsigned count = 0;

    for (unsigned i = 0; i < r->fields.count; i++)
        count += r->fields.list[i].id == id;
    return count;
}

static bool is_same(struct http_text a, struct http_text b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* What goes to the origin, read as strictly as it came. */
static void check_forwarded(struct http_request *r)
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_request r, cut;
    struct h1_scan scan, other;
    bool accepted = is_accepted(&r, &scan, data, size, 0);

    for (size_t first = 1; first <= 2; first++) {
        must(is_accepted(&cut, &other, data, size, first) == accepted);
        if (accepted)
            must(other.head_len == scan.head_len && other.first_len == scan.first_len);
    }
    if (!accepted)
        return 0;
    must(r.method.n > 0 && r.target.n > 0 && r.authority.n > 0);
    for (size_t i = 0; i < scan.head_len; i++)
        must(data[i] == '\r' || data[i] == '\n' || http_is_value_char((char)data[i]));
    check_body(HTTP_REQUEST, data, size, scan.head_len, r.framing, r.length);
    check_forwarded(&r);
    return 0;
}
