/* own_answer - see own_answer.h. */
#include "traffic/own_answer.h"

#include <stdio.h>

void own_answer_emit(struct h1_text *t, const struct own_answer *a)
{
    char body[96];
    int n = snprintf(body, sizeof(body), "%u %s\n", a->status, a->word);

    must(n > 0 && (size_t)n < sizeof(body));
    H1_PUT_LITERAL(t, "HTTP/1.1 ");
    h1_put_number(t, a->status);
    H1_PUT_LITERAL(t, " ");
    h1_put_text(t, http_status_phrase(a->status));
    H1_PUT_LITERAL(t, "\r\n");
    h1_put_field(t, "Date", a->date);
    if (a->version_header)
        h1_put_field(t, a->version_header, a->version);
    if (a->realm) {
        H1_PUT_LITERAL(t, "WWW-Authenticate: Basic realm=\"");
        h1_put_text(t, a->realm); /* a host name: nothing to escape */
        H1_PUT_LITERAL(t, "\", charset=\"UTF-8\"\r\n");
    }
    if (a->hsts)
        h1_put_field(t, "Strict-Transport-Security", a->hsts);
    if (a->explains)
        h1_put_field(t, "penstock-reason", a->word);
    if (a->status == 405)
        h1_put_field(t, "Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    if (a->location.n > 0) {
        H1_PUT_LITERAL(t, "Location: ");
        h1_put(t, a->location.p, a->location.n);
        H1_PUT_LITERAL(t, "\r\n");
    }
    h1_put_field(t, "Content-Type", "text/plain; charset=utf-8");
    H1_PUT_LITERAL(t, "Content-Length: ");
    h1_put_number(t, (uint64_t)n);
    H1_PUT_LITERAL(t, "\r\n");
    if (a->closes)
        H1_PUT_LITERAL(t, "Connection: close\r\n");
    else if (a->minor == 0)
        H1_PUT_LITERAL(t, "Connection: keep-alive\r\n");
    H1_PUT_LITERAL(t, "\r\n");
    if (!a->is_head)
        h1_put(t, body, (size_t)n);
}
