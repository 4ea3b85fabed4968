/* h1_scan - see h1_scan.h.  RFC 9112 sections 2.2, 5, 6 and 7.1. */
#include "traffic/h1_scan.h"

#include <llhttp.h>
#include <string.h>

#include "base/must.h"

/* The first byte of [p, end) that no field value and no start line may hold. */
static enum traffic_reason check_bytes(const char *p, const char *end)
{
    p = http_value_end(p, end);
    if (p == end)
        return REASON_NONE;
    return *p == '\r' ? REASON_BARE_CR : REASON_BAD_BYTE;
}

/* The head is not whole: its lines so far may be wrong already, and the one that is under way too
 * (its last byte may be the CR).  Of a whole head the parser sees to this.  What was checked is not
 * checked again: a head that comes byte by byte would cost the square of its length. */
static enum traffic_reason check_part(struct h1_scan *s, const char *base, size_t n)
{
    enum traffic_reason reason = REASON_NONE;

    while (reason == REASON_NONE && s->checked < s->line) {
        const char *lf = memchr(base + s->checked, '\n', s->line - s->checked);

        must(lf != NULL);
        reason = check_bytes(base + s->checked, lf - 1);
        s->checked = (size_t)(lf + 1 - base);
    }
    if (n > s->line && base[n - 1] == '\r')
        n--;
    if (reason != REASON_NONE || n <= s->checked)
        return reason;
    reason = check_bytes(base + s->checked, base + n);
    s->checked = n;
    return reason;
}

/* Goes over whole lines; `is_start` when the first line is a start line, which may not be empty. */
static enum traffic_reason scan_lines(struct h1_scan *s, const char *base, size_t n, bool is_start)
{
    const char *lf;

    while (s->pos < n && (lf = memchr(base + s->pos, '\n', n - s->pos)) != NULL) {
        size_t at = (size_t)(lf - base);

        if (at == s->line || base[at - 1] != '\r')
            return REASON_BARE_LF;
        if ((base[s->line] == ' ' || base[s->line] == '\t') && at - 1 > s->line)
            return is_start && s->line == 0 ? REASON_BAD_REQUEST_LINE : REASON_OBS_FOLD;
        s->pos = at + 1;
        if (at - 1 == s->line) {
            if (is_start && s->line == 0)
                return REASON_BAD_REQUEST_LINE;
            s->head_len = at + 1;
            return REASON_NONE;
        }
        if (is_start && s->line == 0)
            s->first_len = at - 1;
        s->line = at + 1;
    }
    s->pos = n;
    return check_part(s, base, n);
}

enum traffic_reason h1_scan_run(struct h1_scan *s, const char *base, size_t n,
                                const struct h1_limits *limits)
{
    enum traffic_reason reason = scan_lines(s, base, n, true);
    size_t line = s->first_len > 0 ? s->first_len : MIN(n, s->pos);

    if (reason != REASON_NONE)
        return reason;
    if (line > limits->request_line_bytes)
        return REASON_URI_TOO_LONG;
    if (s->head_len > limits->head_bytes || (s->head_len == 0 && n >= limits->head_bytes))
        return s->first_len > 0 ? REASON_HEADER_TOO_LARGE : REASON_URI_TOO_LONG;
    return REASON_NONE;
}

enum traffic_reason h1_scan_trailers(struct h1_scan *s, const char *base, size_t n, size_t max)
{
    enum traffic_reason reason = scan_lines(s, base, n, false);

    if (reason != REASON_NONE)
        return reason;
    if (s->head_len > max || (s->head_len == 0 && n >= max))
        return REASON_TRAILER_TOO_LARGE;
    return REASON_NONE;
}

static enum traffic_reason parse_line(struct http_field *f, const char *p, const char *end)
{
    const char *name = p;
    enum traffic_reason reason;

    while (p < end && http_is_token_char(*p))
        p++;
    reason = check_bytes(p, end);
    if (p == name || p == end || *p != ':')
        return reason != REASON_NONE ? reason : REASON_BAD_FIELD_NAME;
    if (reason != REASON_NONE)
        return reason;
    f->name = name;
    f->name_len = (uint16_t)(p - name);
    p++;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    f->value = p;
    while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    f->value_len = (uint16_t)(end - p);
    f->id = (uint8_t)http_field_id_of((struct http_text){f->name, f->name_len});
    f->is_dropped = false;
    return REASON_NONE;
}

enum traffic_reason h1_fields_parse(struct http_fields *out, const char *p, const char *end,
                                    unsigned max)
{
    must(end - p >= 2 && end - p <= UINT16_MAX);
    must(max <= HTTP_FIELDS_MAX);
    out->count = 0;
    end -= 2;
    while (p < end) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        enum traffic_reason reason;

        must(lf != NULL && lf > p);
        if (out->count == max)
            return REASON_TOO_MANY_FIELDS;
        reason = parse_line(&out->list[out->count], p, lf - 1);
        if (reason != REASON_NONE)
            return reason;
        out->count++;
        p = lf + 1;
    }
    return REASON_NONE;
}

enum traffic_reason h1_length_parse(uint64_t *out, struct http_text value)
{
    uint64_t sum = 0;

    if (value.n == 0)
        return REASON_LENGTH_INVALID;
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] < '0' || value.p[i] > '9')
            return REASON_LENGTH_INVALID;
    for (size_t i = 0; i < value.n; i++) {
        if (sum > (uint64_t)(INT64_MAX - 9) / 10)
            return REASON_LENGTH_TOO_LARGE;
        sum = sum * 10 + (uint64_t)(value.p[i] - '0');
    }
    *out = sum;
    return REASON_NONE;
}

enum traffic_reason h1_coding_parse(struct http_text value)
{
    struct http_text rest = value, coding;
    bool has_chunked = false, has_other = false;

    if (http_text_is(value, "chunked"))
        return REASON_NONE;
    while (http_list_next(&rest, &coding)) {
        for (size_t i = 0; i < coding.n; i++)
            if (!http_is_token_char(coding.p[i]))
                return REASON_CODING_INVALID;
        if (has_chunked)
            return REASON_CODING_INVALID; /* twice, or not the last */
        if (http_text_is(coding, "chunked"))
            has_chunked = true;
        else
            has_other = true;
    }
    return has_other ? REASON_CODING_UNKNOWN : REASON_CODING_INVALID;
}

/* --- llhttp ------------------------------------------------------------------------------- */

struct view {
    unsigned field_count;
    bool is_complete, is_chunked, has_length;
    uint64_t length;
};

static int on_field(llhttp_t *parser)
{
    struct view *view = parser->data;

    view->field_count++;
    return 0;
}

static int on_head(llhttp_t *parser)
{
    struct view *view = parser->data;

    view->is_complete = true;
    view->is_chunked = parser->flags & F_CHUNKED;
    view->has_length = parser->flags & F_CONTENT_LENGTH;
    view->length = parser->content_length;
    return HPE_PAUSED;
}

bool h1_second_opinion(const char *head, size_t n, const struct h1_opinion *ours)
{
    static const llhttp_settings_t settings = {
        .on_header_value_complete = on_field,
        .on_headers_complete = on_head,
    };
    struct view view = {0};
    llhttp_t parser;
    enum llhttp_errno result;

    llhttp_init(&parser, ours->is_request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    parser.data = &view;
    result = llhttp_execute(&parser, head, n);
    if (!view.is_complete || (result != HPE_PAUSED && result != HPE_OK))
        return false;
    if (view.field_count != ours->field_count || parser.http_major != 1 ||
        parser.http_minor != ours->minor)
        return false;
    if (ours->is_request) {
        const char *method = llhttp_method_name((llhttp_method_t)parser.method);

        if (strlen(method) != ours->method.n || memcmp(method, ours->method.p, ours->method.n) != 0)
            return false;
    } else if (parser.status_code != ours->status) {
        return false;
    }
    return view.is_chunked == (ours->framing == HTTP_CHUNKED) &&
           view.has_length == ours->has_length && (!view.has_length || view.length == ours->length);
}
