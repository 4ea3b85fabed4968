/* http_upgrade - see http_upgrade.h. */
#include "traffic/http_upgrade.h"

#include <string.h>

#include "base/must.h"

void http_upgrade_note(struct http_upgrade *u, const struct http_request *r)
{
    must(r->upgrade.n <= sizeof(u->protocols) && r->websocket_accept.n < sizeof(u->accept));
    u->protocols_len = (uint8_t)r->upgrade.n;
    if (r->upgrade.n > 0)
        memcpy(u->protocols, r->upgrade.p, r->upgrade.n);
    if (r->websocket_accept.n > 0)
        memcpy(u->accept, r->websocket_accept.p, r->websocket_accept.n);
    u->accept[r->websocket_accept.n] = '\0';
}

static bool is_in_list(struct http_text list, struct http_text wanted)
{
    struct http_text element;

    while (http_list_next(&list, &element))
        if (http_text_is_same(element, wanted))
            return true;
    return false;
}

static bool is_protocol_asked_for(const struct http_upgrade *u, const struct http_response *r)
{
    struct http_text rest = r->upgrade, protocol;
    unsigned count = 0;

    for (; http_list_next(&rest, &protocol); count++)
        if (!is_in_list((struct http_text){u->protocols, u->protocols_len}, protocol))
            return false;
    return http_upgrade_is_asked(u) && count > 0;
}

static bool is_accept_right(const struct http_upgrade *u, const struct http_response *r)
{
    if (u->accept[0] == '\0')
        return true;
    for (unsigned i = 0; i < r->fields.count; i++) {
        const struct http_field *f = &r->fields.list[i];

        if (http_text_is((struct http_text){f->name, f->name_len}, "sec-websocket-accept"))
            return f->value_len == strlen(u->accept) &&
                   memcmp(f->value, u->accept, f->value_len) == 0;
    }
    return false;
}

bool http_upgrade_is_answered(const struct http_upgrade *u, const struct http_response *r)
{
    return is_protocol_asked_for(u, r) && is_accept_right(u, r);
}
