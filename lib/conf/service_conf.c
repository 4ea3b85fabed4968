/* service_conf - see service_conf.h.  (It knows the inside of one list, so json-c is seen here.) */
#include "conf/service_conf.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "json/json.h"

#define TOKEN_MIN 22 /* 128 bits in base64url */

const char *const service_log_levels[] = {"debug", "info", "warn", "error", NULL};
const char *const service_log_formats[] = {"auto", "text", "json", NULL};

bool service_name_is_valid(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._");

    return n > 0 && n <= 253 && text[n] == '\0' && text[0] != '.' && text[0] != '-';
}

void service_check_hosts(struct json_check *faults, const char *pointer, const void *member)
{
    struct json_object *const *list = member;

    if (*list && !json_object_is_type(*list, json_type_array)) {
        json_fault(faults, pointer, "type", "must be a list, is %s", json_type_of(*list));
        return;
    }
    for (size_t i = 0; *list && i < json_object_array_length(*list); i++) {
        struct json_object *value = json_object_array_get_idx(*list, i);
        char key[24];

        snprintf(key, sizeof(key), "%zu", i);
        if (!json_object_is_type(value, json_type_string))
            json_fault_at(faults, pointer, key, "type", "must be a string, is %s",
                          json_type_of(value));
        else if (!service_name_is_valid(json_object_get_string(value)))
            json_fault_at(faults, pointer, key, "invalid", "\"%.64s\" is no host name",
                          json_object_get_string(value));
    }
}

/* Each line of it: what is made here has 43 characters, what people choose must not be guessed. */
void service_check_token(struct json_check *faults, const char *pointer, const void *member)
{
    const char *const *text = member;

    for (const char *line = *text; line && *line;) {
        size_t n = strcspn(line, "\n");

        if (n < TOKEN_MIN)
            json_fault(faults, pointer, "range", "must have %d characters or more", TOKEN_MIN);
        line += n + (line[n] == '\n');
    }
}

static void check_token_file(struct json_check *faults, const char *pointer, const char *token,
                             const char *file)
{
    if (token && *token && file && *file)
        json_fault(faults, pointer, "conflict", "a token and a file for it exclude each other");
}

void service_check(struct json_check *faults, const struct service_conf *conf)
{
    bool has_cert = conf->management_cert_file && *conf->management_cert_file;
    bool has_key = conf->management_key_file && *conf->management_key_file;

    check_token_file(faults, "/management/tokenFile", conf->management_token,
                     conf->management_token_file);
    check_token_file(faults, "/management/readTokenFile", conf->management_read_token,
                     conf->management_read_token_file);
    if (has_cert != has_key)
        json_fault(faults, has_cert ? "/management/keyFile" : "/management/certFile", "required",
                   "management.certFile and management.keyFile go together");
    if (conf->management_client_ca_file && *conf->management_client_ca_file && !has_cert)
        json_fault(faults, "/management/certFile", "required",
                   "management.clientCaFile needs management.certFile");
}

void service_log_start(const struct service_conf *conf)
{
    bool is_text = conf->log_format == SERVICE_LOG_TEXT ||
                   (conf->log_format == SERVICE_LOG_AUTO && isatty(STDERR_FILENO));

    log_init(is_text ? LOG_TEXT : LOG_JSON, (enum log_level)conf->log_level, STDERR_FILENO);
}
