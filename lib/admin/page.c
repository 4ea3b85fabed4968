/* page - files of a page that a browser shows, from the program's own text.
 *
 * The page may hold whatever strangers made up (names of edges, words of origins), so its policy
 * leaves nothing to injected markup: scripts and styles only as files of this server, no eval, no
 * string ever becomes markup (Trusted Types), no form is sent, no other site frames it.  The files
 * are no secret: no token is asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/etag.h"
#include "admin/server.h"
#include "tls/tls.h"

#define PAGE_POLICY                                                                                \
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "                \
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "                \
    "require-trusted-types-for 'script'; trusted-types 'none'"
#define ETAG_BYTES 12u

/* Of the text itself: another build with the same page is no reason to load it again.  A page is
 * small and asked for rarely, so it is worked out each time. */
static void write_etag(const char *text, size_t len, char out[2 * ETAG_BYTES + 1])
{
    uint8_t digest[32];

    tls_sha256(text, len, digest);
    for (size_t i = 0; i < ETAG_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

void admin_reply_page(struct admin_request *r, const struct admin_page *page)
{
    size_t len = strlen(page->text);
    char *known = request_header(r, "If-None-Match", NULL), etag[2 * ETAG_BYTES + 1];
    bool is_known;

    write_etag(page->text, len, etag);
    is_known = known && etag_list_has(known, etag, ETAG_WEAK);
    free(known);
    r->reply.cache = "no-cache"; /* kept, but never shown without a question for a newer one */
    reply_header(r, "ETag", "\"%s\"", etag);
    reply_header(r, "Content-Security-Policy", "%s", PAGE_POLICY);
    reply_header(r, "Cross-Origin-Resource-Policy", "same-origin");
    reply_header(r, "Referrer-Policy", "no-referrer");
    if (is_known)
        reply_text(r, 304, NULL, NULL, 0);
    else
        reply_text(r, 200, page->type, must_strdup(page->text), len);
}
