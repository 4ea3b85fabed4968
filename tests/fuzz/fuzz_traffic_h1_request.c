/* Fuzz target of the reading of requests (h1_scan, h1_request, h1_body): however the bytes are cut
 * the verdict is the same; what is accepted is one message to llhttp as well; and what is sent to
 * the origin for it reads back as the same request, with one Host and one framing. */
#include "traffic/h1_request.h"
#include "traffic_forward_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = {4096, 2048, 64};

static bool is_accepted(struct http_request *r, struct h1_scan *scan, const uint8_t *data,
                        size_t size, size_t first)
{
    if (find_head(scan, data, size, &limits, first) != REASON_NONE || scan->head_len == 0)
        return false;
    return h1_request_parse(r, (const char *)data, scan, &limits, "https") == REASON_NONE;
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
