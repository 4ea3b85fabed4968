/* h1_response - see h1_response.h.  RFC 9112 sections 4 and 6.3. */
#include "traffic/h1_response.h"

#include <string.h>

#include "base/must.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* HTTP/1.x SP 3DIGIT [ SP [ phrase ] ]: the last blank is missing from some origins. */
static enum traffic_reason parse_line(struct http_response *out, const char *line, size_t n)
{
    if (n < 12 || memcmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') ||
        line[8] != ' ' || !is_digit(line[9]) || !is_digit(line[10]) || !is_digit(line[11]) ||
        (n > 12 && line[12] != ' '))
        return REASON_BAD_REQUEST_LINE;
    out->minor = (unsigned)(line[7] - '0');
    out->status = (unsigned)((line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0'));
    if (out->status < 100 || out->status > 599)
        return REASON_BAD_REQUEST_LINE;
    if (n > 13)
        out->reason = (struct http_text){line + 13, n - 13};
    return http_value_end(line + 12, line + n) == line + n ? REASON_NONE : REASON_BAD_BYTE;
}

struct framing {
    unsigned length_count, coding_count;
    struct http_text coding;
};

static enum traffic_reason read_field(struct http_response *out, struct framing *seen,
                                      const struct http_field *f)
{
    struct http_text value = {f->value, f->value_len};

    if (f->id == FIELD_CONTENT_LENGTH) {
        if (++seen->length_count > 1)
            return REASON_LENGTH_DUPLICATE;
        out->has_length = true;
        return h1_length_parse(&out->length, value);
    }
    if (f->id == FIELD_TRANSFER_ENCODING) {
        seen->coding_count++;
        seen->coding = value;
    } else if (f->id == FIELD_UPGRADE) {
        out->upgrade = value;
    } else if (f->id == FIELD_DATE) {
        out->has_date = true;
    }
    return REASON_NONE;
}

static enum traffic_reason decide_framing(struct http_response *out, const struct framing *seen,
                                          bool to_head)
{
    enum traffic_reason reason = REASON_NONE;

    if (seen->coding_count > 0) {
        if (seen->length_count > 0)
            return REASON_LENGTH_AND_CODING;
        if (out->minor == 0)
            return REASON_CODING_ON_HTTP10;
        if (seen->coding_count > 1)
            return REASON_CODING_INVALID;
        reason = h1_coding_parse(seen->coding);
        if (reason != REASON_NONE)
            return reason;
        out->framing = HTTP_CHUNKED;
    } else if (seen->length_count > 0) {
        out->framing = HTTP_LENGTH;
    } else {
        out->framing = HTTP_UNTIL_CLOSE;
    }
    if (out->status < 200 || out->status == 204) {
        /* They have no body; one that is announced all the same would be read as the next answer.
         */
        if (out->framing == HTTP_CHUNKED || (out->framing == HTTP_LENGTH && out->length > 0))
            return REASON_LENGTH_INVALID;
        out->framing = HTTP_NO_BODY;
        out->has_length = false;
    } else if (to_head || out->status == 304) {
        out->framing = HTTP_NO_BODY;
    }
    return reason;
}

static enum traffic_reason parse(struct http_response *out, const char *head,
                                 const struct h1_scan *scan, const struct h1_limits *limits,
                                 bool to_head)
{
    struct framing seen = {0};
    struct http_connection connection;
    enum traffic_reason reason = parse_line(out, head, scan->first_len);

    if (reason == REASON_NONE)
        reason = h1_fields_parse(&out->fields, head + scan->first_len + 2, head + scan->head_len,
                                 limits->fields);
    for (unsigned i = 0; reason == REASON_NONE && i < out->fields.count; i++)
        reason = read_field(out, &seen, &out->fields.list[i]);
    if (reason == REASON_NONE)
        reason = decide_framing(out, &seen, to_head);
    if (reason == REASON_NONE)
        reason = http_connection_apply(&out->fields, &connection);
    if (reason != REASON_NONE)
        return reason;
    out->wants_close =
        out->minor == 0 ? !connection.has_keep_alive || connection.has_close : connection.has_close;
    return h1_second_opinion(
               head, scan->head_len,
               &(struct h1_opinion){.minor = out->minor,
                                    .status = out->status,
                                    .field_count = out->fields.count,
                                    .framing = seen.coding_count > 0 ? HTTP_CHUNKED : HTTP_NO_BODY,
                                    .has_length = seen.length_count > 0,
                                    .length = out->length})
               ? REASON_NONE
               : REASON_PARSERS_DISAGREE;
}

enum traffic_reason h1_response_parse(struct http_response *out, const char *head,
                                      const struct h1_scan *scan, const struct h1_limits *limits,
                                      bool to_head, enum traffic_reason *why)
{
    enum traffic_reason reason;

    must(scan->head_len > 0 && scan->first_len > 0);
    memset(out, 0, offsetof(struct http_response, fields));
    reason = parse(out, head, scan, limits, to_head);
    if (why)
        *why = reason;
    return reason == REASON_NONE ? REASON_NONE : REASON_UPSTREAM_INVALID;
}
