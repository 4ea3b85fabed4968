/* token_command - see token_command_json.h. */
#include "hub/token_command_json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tls/tls.h"
#include "wire/token.h"
#include "json/json.h"

#define INPUT_MAX 16384

enum { STATUS_OK, STATUS_BAD, STATUS_USAGE };

static int tell(int status, const char *what, const char *why)
{
    fprintf(stderr, "token: %s%s%s\n", what, *why ? ": " : "", why);
    return status;
}

/* All of the input, without blanks at its end; the caller's.  NULL: told. */
static char *read_input(FILE *from)
{
    char *text = must_alloc(INPUT_MAX + 1);
    size_t n = fread(text, 1, INPUT_MAX, from);

    if (ferror(from) || n == INPUT_MAX) {
        tell(STATUS_BAD, "the input cannot be read, or is too long", "");
        tls_wipe(text, INPUT_MAX);
        free(text);
        return NULL;
    }
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        n--;
    text[n] = '\0';
    return text;
}

/* --- encode
 * ------------------------------------------------------------------------------------------ */

/* "key=value" over what the JSON says. */
static int add_argument(struct json_object *obj, const char *argument)
{
    static const char *const keys[] = {"hubHost", "hubPort", "edgeId", "pin"};
    const char *value = strchr(argument, '=');

    for (size_t i = 0; value && i < ARRAY_LEN(keys); i++) {
        if (strncmp(argument, keys[i], strlen(keys[i])) != 0 || argument + strlen(keys[i]) != value)
            continue;
        if (strcmp(keys[i], "hubPort") == 0)
            json_object_object_add(obj, keys[i],
                                   json_object_new_int64(strtoll(value + 1, NULL, 10)));
        else
            json_object_object_add(obj, keys[i], json_object_new_string(value + 1));
        return STATUS_OK;
    }
    return tell(STATUS_USAGE, "encode takes hubHost=, hubPort=, edgeId=, pin=, not", argument);
}

static void read_token(struct token *t, struct json_object *obj, struct json_check *faults)
{
    const char *text;

    json_only(faults, "", obj,
              (const char *const[]){"hubHost", "hubPort", "edgeId", "secret", "pin", NULL});
    text = json_str(faults, "", obj, "hubHost", JSON_REQUIRED, 1, HOST_MAX);
    if (text && !host_is_valid(text))
        json_fault(faults, "/hubHost", "invalid", "must be a host name or an address");
    snprintf(t->hub_host, sizeof(t->hub_host), "%s", text ? text : "");
    t->hub_port = (uint16_t)json_int(faults, "", obj, "hubPort", JSON_REQUIRED, 1, 65535, 0);
    text = json_str(faults, "", obj, "edgeId", JSON_REQUIRED, 1, EDGE_ID_MAX);
    if (text && !edge_id_is_valid(text))
        json_fault(faults, "/edgeId", "invalid", "must be of A-Za-z0-9._-");
    snprintf(t->edge_id, sizeof(t->edge_id), "%s", text ? text : "");
    text = json_str(faults, "", obj, "secret", JSON_REQUIRED, SECRET_MIN, SECRET_MAX);
    if (text && !secret_is_valid(text))
        json_fault(faults, "/secret", "invalid", "must be of A-Za-z0-9-_.~");
    snprintf(t->secret, sizeof(t->secret), "%s", text ? text : "");
    text = json_str(faults, "", obj, "pin", JSON_OPTIONAL, 1, 64);
    t->has_pin = text != NULL;
    if (text && pin_parse(t->pin, text) != 0)
        json_fault(faults, "/pin", "invalid", "must be 32 bytes in base64url");
}

static int print_token(struct json_object *obj)
{
    struct token t = {0};
    struct json_check faults;
    char *text;
    int status = STATUS_OK;

    json_check_init(&faults);
    read_token(&t, obj, &faults);
    for (size_t i = 0; i < faults.count; i++)
        status = tell(STATUS_BAD, faults.faults[i].pointer, faults.faults[i].detail);
    json_check_fini(&faults);
    if (status == STATUS_OK) {
        text = token_emit(&t);
        puts(text);
        tls_wipe(text, strlen(text));
        free(text);
    }
    token_fini(&t);
    return status;
}

static int encode(char **rest)
{
    struct json_object *obj = NULL;
    struct json_syntax why;
    char *text = read_input(stdin);
    int status = STATUS_OK;

    if (!text)
        return STATUS_BAD;
    if (json_read(&obj, text, strlen(text), &why) != 0 ||
        !json_object_is_type(obj, json_type_object))
        status = tell(STATUS_BAD, "standard input must be a JSON object with the secret", "");
    for (; status == STATUS_OK && *rest; rest++)
        status = add_argument(obj, *rest);
    if (status == STATUS_OK)
        status = print_token(obj);
    json_object_put(obj);
    tls_wipe(text, strlen(text));
    free(text);
    return status;
}

/* --- decode
 * ------------------------------------------------------------------------------------------ */

static int print_content(const char *text, bool shows_secret)
{
    struct json_object *obj;
    char pin[PIN_TEXT_LEN + 1];
    struct wire_why why;
    struct token t;

    if (token_parse(&t, text, &why) != 0)
        return tell(STATUS_BAD, "no token", why.text);
    obj = json_object_new_object();
    json_object_object_add(obj, "hubHost", json_object_new_string(t.hub_host));
    json_object_object_add(obj, "hubPort", json_object_new_int(t.hub_port));
    json_object_object_add(obj, "edgeId", json_object_new_string(t.edge_id));
    json_object_object_add(obj, "secret", json_object_new_string(shows_secret ? t.secret : "***"));
    if (t.has_pin) {
        pin_emit(pin, t.pin);
        json_object_object_add(obj, "pin", json_object_new_string(pin));
    }
    puts(json_object_to_json_string_ext(obj,
                                        JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(obj);
    token_fini(&t);
    return STATUS_OK;
}

static int decode(char **rest)
{
    bool shows_secret = *rest && strcmp(*rest, "--show-secret") == 0;
    FILE *from = stdin;
    char *text;
    int status;

    rest += shows_secret;
    if (*rest && strcmp(*rest, "-") != 0 && !(from = fopen(*rest, "re")))
        return tell(STATUS_BAD, *rest, "cannot be read");
    text = read_input(from);
    if (from != stdin)
        fclose(from);
    if (!text)
        return STATUS_BAD;
    status = print_content(text, shows_secret);
    tls_wipe(text, strlen(text));
    free(text);
    return status;
}

int token_command(char **rest)
{
    if (*rest && strcmp(*rest, "encode") == 0)
        return encode(rest + 1);
    if (*rest && strcmp(*rest, "decode") == 0)
        return decode(rest + 1);
    return tell(STATUS_USAGE, "say encode or decode", "");
}
