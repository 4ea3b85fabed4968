/* forward_rules - see forward_rules.h. */
#include "traffic/forward_rules.h"

#include <string.h>

#define HSTS "strict-transport-security"

static bool is_named(const struct http_field *f, const char *lower)
{
    return http_text_is((struct http_text){f->name, f->name_len}, lower);
}

static void drop(struct http_fields *fields, const char *lower)
{
    for (unsigned i = 0; i < fields->count; i++)
        if (is_named(&fields->list[i], lower))
            fields->list[i].is_dropped = true;
}

void forward_rules_request(const struct route_options *options, struct http_request *r,
                           struct h1_text *extras)
{
    const struct route_headers *rules = &options->to_origin;

    for (unsigned i = 0; i < rules->count; i++) {
        drop(&r->fields, rules->list[i].name);
        if (rules->list[i].value)
            h1_put_field(extras, rules->list[i].name, rules->list[i].value);
    }
}

static bool add(struct http_fields *fields, const char *name, const char *value)
{
    if (fields->count == HTTP_FIELDS_MAX)
        return false;
    fields->list[fields->count++] = (struct http_field){
        .name = name,
        .value = value,
        .name_len = (uint16_t)strlen(name),
        .value_len = (uint16_t)strlen(value),
        .id = FIELD_OTHER,
    };
    return true;
}

enum traffic_reason forward_rules_response(const struct route_options *options,
                                           struct http_response *r)
{
    const struct route_headers *rules = &options->to_client;
    bool fits = true;

    if (options->hsts) {
        drop(&r->fields, HSTS);
        fits = add(&r->fields, HSTS, options->hsts);
    }
    for (unsigned i = 0; i < rules->count; i++) {
        drop(&r->fields, rules->list[i].name);
        if (rules->list[i].value)
            fits = add(&r->fields, rules->list[i].name, rules->list[i].value) && fits;
    }
    return fits ? REASON_NONE : REASON_TOO_MANY_FIELDS;
}
