/* token_json - see token.h.  What holds the secret on the way is wiped before it is freed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "wire/base64url.h"
#include "wire/object_json.h"
#include "wire/token.h"
#include "json/json.h"

_Static_assert(PIN_TEXT_LEN == BASE64URL_LEN(PIN_BYTES), "a pin is a SHA-256");

int pin_parse(uint8_t out[PIN_BYTES], const char *text)
{
    size_t len;

    memset(out, 0, PIN_BYTES);
    if (strlen(text) != PIN_TEXT_LEN)
        return -ERR_SYNTAX;
    return base64url_parse(out, PIN_BYTES, text, PIN_TEXT_LEN, &len);
}

void pin_emit(char out[PIN_TEXT_LEN + 1], const uint8_t pin[PIN_BYTES])
{
    base64url_emit(out, pin, PIN_BYTES);
}

void token_fini(struct token *t)
{
    explicit_bzero(t, sizeof(*t));
}

/* json-c wipes nothing: its copy of the value is wiped here; the buffer it parsed with can't be. */
static void wipe_value(struct json_object *obj, const char *key)
{
    struct json_object *value;

    if (json_object_object_get_ex(obj, key, &value) && json_object_is_type(value, json_type_string))
        explicit_bzero((char *)(uintptr_t)json_object_get_string(value),
                       (size_t)json_object_get_string_len(value));
}

static void read_fields(struct json_check *c, struct json_object *obj, struct token *out)
{
    const char *host = json_str(c, "", obj, "hubHost", JSON_REQUIRED, 1, HOST_MAX);
    if (host_is_valid(host))
        snprintf(out->hub_host, sizeof(out->hub_host), "%s", host);
    else if (host)
        json_fault_at(c, "", "hubHost", "invalid", "must be a name or an address");
    out->hub_port = (uint16_t)json_int(c, "", obj, "hubPort", JSON_REQUIRED, 1, 65535, 0);
    const char *id = json_str(c, "", obj, "edgeId", JSON_REQUIRED, 1, EDGE_ID_MAX);
    if (edge_id_is_valid(id))
        snprintf(out->edge_id, sizeof(out->edge_id), "%s", id);
    else if (id)
        json_fault_at(c, "", "edgeId", "invalid",
                      "may have letters, digits, '.', '_' and '-' only");
    const char *secret = json_str(c, "", obj, "secret", JSON_REQUIRED, SECRET_MIN, SECRET_MAX);
    if (secret_is_valid(secret))
        snprintf(out->secret, sizeof(out->secret), "%s", secret);
    else if (secret)
        json_fault_at(c, "", "secret", "invalid",
                      "may have letters, digits, '-', '_', '.' and '~' only");
    const char *pin = json_str(c, "", obj, "pin", JSON_OPTIONAL, PIN_TEXT_LEN, PIN_TEXT_LEN);
    out->has_pin = pin && pin_parse(out->pin, pin) == 0;
    if (pin && !out->has_pin)
        json_fault_at(c, "", "pin", "invalid", "must be a SHA-256 in base64url without padding");
}

int token_parse(struct token *out, const char *text, struct wire_why *why)
{
    size_t n = strlen(text), len;
    uint8_t json[TOKEN_TEXT_MAX];
    struct json_object *obj;
    struct json_check c;

    *out = (struct token){.hub_port = 0};
    if (n > TOKEN_TEXT_MAX) {
        snprintf(why->text, sizeof(why->text), "longer than %d characters", TOKEN_TEXT_MAX);
        return -ERR_SYNTAX;
    }
    if (base64url_parse(json, sizeof(json), text, n, &len) != 0) {
        snprintf(why->text, sizeof(why->text), "not base64url without padding");
        return -ERR_SYNTAX;
    }
    int rc = object_read(&obj, json, len, why);
    explicit_bzero(json, sizeof(json));
    if (rc != 0)
        return -ERR_SYNTAX;
    json_check_init(&c);
    read_fields(&c, obj, out);
    wipe_value(obj, "secret");
    json_object_put(obj);
    if (object_end_check(&c, why) == 0)
        return 0;
    token_fini(out);
    return -ERR_SYNTAX;
}

char *token_emit(const struct token *t)
{
    struct json_object *obj = object_new();
    char pin[PIN_TEXT_LEN + 1];
    size_t n;

    must(host_is_valid(t->hub_host));
    must(t->hub_port > 0);
    must(edge_id_is_valid(t->edge_id));
    must(secret_is_valid(t->secret));
    object_add_str(obj, "hubHost", t->hub_host);
    object_add_int(obj, "hubPort", t->hub_port);
    object_add_str(obj, "edgeId", t->edge_id);
    object_add_str(obj, "secret", t->secret);
    if (t->has_pin) {
        pin_emit(pin, t->pin);
        object_add_str(obj, "pin", pin);
    }
    char *json = object_emit(obj, "", &n);
    char *out = must_alloc(BASE64URL_LEN(n) + 1);
    base64url_emit(out, (const uint8_t *)json, n);
    explicit_bzero(json, n);
    free(json);
    return out;
}
