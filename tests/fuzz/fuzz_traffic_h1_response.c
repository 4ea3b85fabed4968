/* Fuzz target of the reading of answers (h1_scan, h1_response, h1_body): however the bytes are cut
 * the verdict is the same; what is accepted is one message to llhttp as well; and what is sent to
 * the client for it reads back as the same answer.  The first byte says whether the request was
 * HEAD. */
#include "traffic/forward_headers.h"
#include "traffic/h1_emit.h"
#include "traffic/h1_response.h"
#include "traffic_h1_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = {4096, 4096, 64};

static bool is_accepted(struct http_response *r, struct h1_scan *scan, const uint8_t *data,
                        size_t size, bool to_head, size_t first)
{
    if (find_head(scan, data, size, &limits, first) != REASON_NONE || scan->head_len == 0)
        return false;
    return h1_response_parse(r, (const char *)data, scan, &limits, to_head, NULL) == REASON_NONE;
}

/* What a client of HTTP/1.1 gets. */
static void check_forwarded(struct http_response *r, bool to_head)
{
    static const struct h1_limits wide = {65535, 65535, HTTP_FIELDS_MAX};
    static struct http_response back;
    static char bytes[16384];
    struct h1_text text = {.p = bytes, .size = sizeof(bytes)};
    bool is_open_ended = r->framing == HTTP_CHUNKED || r->framing == HTTP_UNTIL_CLOSE;
    struct h1_scan scan;

    if (r->status == 101 && r->upgrade.n == 0)
        return; /* refused by the exchange */
    forward_response_filter(r, "x-version");
    h1_response_emit(&text, r,
                     &(struct h1_answer){.minor = 1,
                                         .is_chunked = is_open_ended,
                                         .version_header = "x-version",
                                         .version = "1",
                                         .date = "Sun, 06 Nov 1994 08:49:37 GMT"});
    must(!text.is_cut);
    must(find_head(&scan, (const uint8_t *)bytes, text.n, &wide, 0) == REASON_NONE);
    must(scan.head_len == text.n);
    must(h1_response_parse(&back, bytes, &scan, &wide, to_head, NULL) == REASON_NONE);
    must(back.status == r->status);
    if (is_open_ended)
        must(back.framing == HTTP_CHUNKED);
    else if (r->framing == HTTP_LENGTH)
        must(back.framing == HTTP_LENGTH && back.length == r->length);
    else
        must(back.framing == HTTP_NO_BODY || !to_head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_response r, cut;
    struct h1_scan scan, other;
    bool to_head, accepted;

    if (size == 0)
        return 0;
    to_head = *data++ & 1;
    size--;
    accepted = is_accepted(&r, &scan, data, size, to_head, 0);
    for (size_t first = 1; first <= 2; first++)
        must(is_accepted(&cut, &other, data, size, to_head, first) == accepted);
    if (!accepted)
        return 0;
    must(r.status >= 100 && r.status <= 599);
    for (size_t i = 0; i < scan.head_len; i++)
        must(data[i] == '\r' || data[i] == '\n' || http_is_value_char((char)data[i]));
    if (!to_head && r.status >= 200 && r.status != 204 && r.status != 304)
        check_body(HTTP_RESPONSE, data, size, scan.head_len, r.framing, r.length);
    check_forwarded(&r, to_head);
    return 0;
}
