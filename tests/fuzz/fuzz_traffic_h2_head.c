/* Fuzz target of the reading of requests of HTTP/2 (h2_head): what is accepted is sent to the
 * origin as a request that reads back as the same one (traffic_forward_check.h); trailers cannot
 * become anything else than fields.
 *
 *   input: flags (1 byte: 1 no body follows, 2 trailers) | name NUL value NUL | name ... */
#include "traffic/h2_head.h"
#include "traffic_forward_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = {4096, 2048, 64};
static const struct h2_websocket websocket = {"dGhlIHNhbXBsZSBub25jZQ==",
                                              "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="};

static struct http_text next_text(const uint8_t **p, const uint8_t *end)
{
    const uint8_t *from = *p, *nul = memchr(from, '\0', (size_t)(end - from));
    const uint8_t *to = nul ? nul : end;

    *p = nul ? nul + 1 : end;
    return (struct http_text){(const char *)from, (size_t)(to - from)};
}

static void check_trailers(struct h2_head *head)
{
    static struct http_fields fields;

    if (h2_head_trailers(head, &fields, 4096) != REASON_NONE)
        return;
    for (unsigned i = 0; i < fields.count; i++) {
        const struct http_field *f = &fields.list[i];

        must(f->name_len > 0);
        for (size_t n = 0; n < f->name_len; n++)
            must(http_is_token_char(f->name[n]));
        for (size_t n = 0; n < f->value_len; n++)
            must(http_is_value_char(f->value[n]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_request r;
    struct h2_head head = {0};
    const uint8_t *p = data, *end = data + size;
    uint8_t flags;
    bool goes_on = true;

    if (size == 0)
        return 0;
    flags = *p++;
    while (goes_on && p < end) {
        struct http_text name = next_text(&p, end), value = next_text(&p, end);

        goes_on = h2_head_add(&head, name, value, &limits);
    }
    if (flags & 2)
        check_trailers(&head);
    else if (h2_head_request(&head, &r, flags & 1, &websocket) == REASON_NONE)
        check_forwarded(&r);
    h2_head_fini(&head);
    return 0;
}
