/* request_id - see request_id.h. */
#include "traffic/request_id.h"

#include "base/must.h"
#include "tls/tls.h"

static bool is_request_id(const struct http_field *f)
{
    if (f->value_len == 0 || f->value_len > REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < f->value_len; i++)
        if (!http_is_token_char(f->value[i]))
            return false;
    return true;
}

bool request_id_read(char out[REQUEST_ID_MAX + 1], const struct http_fields *fields)
{
    const struct http_field *given = NULL;
    unsigned count = 0;

    for (unsigned i = 0; i < fields->count; i++)
        if (fields->list[i].id == FIELD_REQUEST_ID) {
            given = &fields->list[i];
            count++;
        }
    out[0] = '\0';
    /* Dropped: Connection names it, so it was meant for us alone. */
    if (count != 1 || given->is_dropped || !is_request_id(given))
        return false;
    memcpy(out, given->value, given->value_len);
    out[given->value_len] = '\0';
    return true;
}

void request_id_make(char out[REQUEST_ID_MAX + 1], struct request_ids *ids)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *random;

    if (ids->left == 0) {
        tls_random(ids->random, sizeof(ids->random));
        ids->left = REQUEST_ID_BATCH;
    }
    random = ids->random + (size_t)--ids->left * REQUEST_ID_BYTES;
    for (size_t i = 0; i < REQUEST_ID_BYTES; i++) {
        out[2 * i] = digits[random[i] >> 4];
        out[2 * i + 1] = digits[random[i] & 15];
    }
    out[2 * REQUEST_ID_BYTES] = '\0';
}

void request_id_put(struct http_fields *fields, const char *id)
{
    static const char name[] = "X-Request-Id";

    for (unsigned i = 0; i < fields->count; i++)
        if (fields->list[i].id == FIELD_REQUEST_ID)
            fields->list[i].is_dropped = true;
    must(fields->count < ARRAY_LEN(fields->list));
    fields->list[fields->count++] = (struct http_field){.name = name,
                                                        .value = id,
                                                        .name_len = sizeof(name) - 1,
                                                        .value_len = (uint16_t)strlen(id),
                                                        .id = FIELD_REQUEST_ID};
}
