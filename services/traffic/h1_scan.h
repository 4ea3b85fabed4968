/* h1_scan - finds the end of a head of HTTP/1, line by line, and refuses early what can never
 * become one; then takes its lines apart.
 *
 * Stricter than RFC 9112 allows a server to be: every line ends in CRLF, a CR stands nowhere else,
 * a line that begins with a blank (obs-fold) is an error, so is any control character.  Nothing
 * here repairs.  Requests, answers and trailers are read by the same code.
 */
#ifndef TRAFFIC_H1_SCAN_H
#define TRAFFIC_H1_SCAN_H

#include "traffic/http_head.h"

struct h1_limits {
    size_t head_bytes;         /* start line, fields and the empty line */
    size_t request_line_bytes; /* without its CRLF */
    unsigned fields;           /* at most HTTP_FIELDS_MAX */
};

/* How far a head was read.  Offsets, so that the bytes may move between two calls. */
struct h1_scan {
    size_t pos;       /* looked at */
    size_t line;      /* where the current line begins */
    size_t checked;   /* no byte in front of it is wrong; each is looked at once */
    size_t first_len; /* of the first line, without CRLF; 0: not whole yet */
    size_t head_len;  /* with the empty line; 0: not whole yet */
};

/* Looks at base[0..n), of which the first s->pos bytes were there the last time too.
 * REASON_NONE: s->head_len says whether it is whole. */
enum traffic_reason h1_scan_run(struct h1_scan *s, const char *base, size_t n,
                                const struct h1_limits *limits);
/* The same for a section of fields without a start line (trailers): it may be just the empty line.
 * `max` bounds its bytes: REASON_TRAILER_TOO_LARGE. */
enum traffic_reason h1_scan_trailers(struct h1_scan *s, const char *base, size_t n, size_t max);

/* Takes the field lines of a whole section [p, end) apart; `end` is behind the empty line. */
enum traffic_reason h1_fields_parse(struct http_fields *out, const char *p, const char *end,
                                    unsigned max);

/* What the start line and the fields said about the message, to be compared with llhttp's view. */
struct h1_opinion {
    bool is_request;
    unsigned minor, status;
    unsigned field_count;
    struct http_text method;
    enum http_framing framing;
    bool has_length;
    uint64_t length;
};

/* True when llhttp reads the head as we did.  Two parsers that disagree about a head are how
 * requests are smuggled: then it is refused, whoever is right. */
bool h1_second_opinion(const char *head, size_t n, const struct h1_opinion *ours);

/* Content-Length's value: digits alone.  REASON_LENGTH_INVALID, REASON_LENGTH_TOO_LARGE. */
enum traffic_reason h1_length_parse(uint64_t *out, struct http_text value);
/* Transfer-Encoding's value: exactly "chunked", or the reason why not. */
enum traffic_reason h1_coding_parse(struct http_text value);

#endif
