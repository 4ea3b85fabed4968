/* credentials - see credentials.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/regular_file.h"
#include "edge/credentials.h"
#include "edge/edge_conf.h"
#include "json/json.h"

#define FILE_MAX 16384

/* What the fields say, wherever they came from; NULL and 0 are absent. */
struct fields {
    const char *token, *hub_host, *edge_id, *secret, *pin, *ca_file;
    int64_t hub_port;
};

static void wrong(struct json_check *faults, const char *key, const char *detail)
{
    json_fault_at(faults, "", key, "invalid", "%s", detail);
}

static bool is_given(const char *text)
{
    return text && *text;
}

static void read_token(struct token *out, const struct fields *f, struct json_check *faults)
{
    struct wire_why why;

    if (is_given(f->hub_host) || is_given(f->edge_id) || is_given(f->secret) || is_given(f->pin))
        wrong(faults, "token", "goes without hubHost, edgeId, secret and pin");
    if (token_parse(out, f->token, &why) != 0)
        json_fault_at(faults, "", "token", "invalid",
                      "is no connection token (POST /v1/edges/{id}/token of the hub makes one): %s",
                      why.text);
}

/* One that is NULL was told already. */
static void read_field(char *out, size_t size, const char *text, bool is_valid, const char *key,
                       const char *rule, struct json_check *faults)
{
    if (text && !is_valid)
        wrong(faults, key, rule);
    else if (text)
        snprintf(out, size, "%s", text);
}

static void read_fields(struct token *out, const struct fields *f, struct json_check *faults)
{
    read_field(out->hub_host, sizeof(out->hub_host), f->hub_host, host_is_valid(f->hub_host),
               "hubHost", "must be a host name or an address", faults);
    read_field(out->edge_id, sizeof(out->edge_id), f->edge_id, edge_id_is_valid(f->edge_id),
               "edgeId", "must be 1 to 64 of A-Z a-z 0-9 . _ -", faults);
    read_field(out->secret, sizeof(out->secret), f->secret, secret_is_valid(f->secret), "secret",
               "must be 22 to 256 of A-Z a-z 0-9 - _ . ~", faults);
    out->hub_port = (uint16_t)f->hub_port;
    if (is_given(f->pin)) {
        out->has_pin = pin_parse(out->pin, f->pin) == 0;
        if (!out->has_pin)
            wrong(faults, "pin", "must be the base64url of 32 bytes, without padding");
    }
}

static int make_tls(struct credentials *c, struct json_check *faults)
{
    static const char *const alpn[] = {"penstock/1", NULL};
    struct tls_client_options options = {
        .versions = TLS_ONLY_13,
        .alpn = alpn,
        .pin = c->token.has_pin ? c->token.pin : NULL,
        .ca_file = c->ca_file,
    };
    char why[200] = "";

    if (tls_ctx_new_client(&c->tls, &options, why, sizeof(why)) == 0)
        return 0;
    wrong(faults, "caFile", why);
    return -ERR_SYNTAX;
}

/* `before`: how many faults were none of these fields'. */
static int build(struct credentials **out, const struct fields *f, struct json_check *faults,
                 size_t before)
{
    struct credentials *c = must_alloc(sizeof(*c));

    atomic_store(&c->refs, 1);
    if (is_given(f->ca_file))
        c->ca_file = must_strdup(f->ca_file);
    if (is_given(f->token))
        read_token(&c->token, f, faults);
    else
        read_fields(&c->token, f, faults);
    if (faults->total == before && strlen(c->token.secret) < SECRET_ALONE_MIN &&
        !c->token.has_pin && !c->ca_file)
        wrong(faults, is_given(f->token) ? "token" : "secret",
              "a secret of less than 43 characters needs a pin or caFile beside it");
    if (faults->total == before && make_tls(c, faults) == 0) {
        *out = c;
        return 0;
    }
    credentials_unref(c);
    return -ERR_SYNTAX;
}

int credentials_from_conf(struct credentials **out, const struct edge_conf *conf,
                          struct json_check *faults)
{
    struct fields f = {
        .token = conf->token,
        .hub_host = conf->hub_host,
        .edge_id = conf->edge_id,
        .secret = conf->secret,
        .pin = conf->pin,
        .ca_file = conf->ca_file,
        .hub_port = conf->hub_port,
    };

    if (!is_given(f.token) && !is_given(f.hub_host) && !is_given(f.edge_id) &&
        !is_given(f.secret) && !is_given(f.pin))
        return -ERR_NOT_FOUND;
    return build(out, &f, faults, faults->total);
}

int credentials_from_json(struct credentials **out, struct json_object *body,
                          struct json_check *faults)
{
    static const char *const keys[] = {"token",  "hubHost", "hubPort", "edgeId",
                                       "secret", "pin",     "caFile",  NULL};
    size_t before = faults->total;
    struct fields f = {0};

    if (!json_object_is_type(body, json_type_object)) {
        json_fault(faults, "", "type", "must be an object, is %s", json_type_of(body));
        return -ERR_SYNTAX;
    }
    json_only(faults, "", body, keys);
    f.token = json_str(faults, "", body, "token", JSON_OPTIONAL, 1, TOKEN_TEXT_MAX);
    enum json_need need = json_has(body, "token") ? JSON_OPTIONAL : JSON_REQUIRED;
    f.hub_host = json_str(faults, "", body, "hubHost", need, 1, HOST_MAX);
    f.edge_id = json_str(faults, "", body, "edgeId", need, 1, EDGE_ID_MAX);
    f.secret = json_str(faults, "", body, "secret", need, 1, SECRET_MAX);
    f.pin = json_str(faults, "", body, "pin", JSON_OPTIONAL, 1, PIN_TEXT_LEN);
    f.ca_file = json_str(faults, "", body, "caFile", JSON_OPTIONAL, 1, 4096);
    f.hub_port = json_int(faults, "", body, "hubPort", JSON_OPTIONAL, 1, 65535, 8443);
    if (f.token && json_has(body, "hubPort"))
        wrong(faults, "hubPort", "stands in the token");
    return build(out, &f, faults, before);
}

struct credentials *credentials_ref(struct credentials *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void credentials_unref(struct credentials *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    token_fini(&c->token);
    free(c->ca_file);
    tls_ctx_unref(c->tls);
    free(c);
}

const char *credentials_verified_by(const struct credentials *c)
{
    return c->token.has_pin ? "pin" : c->ca_file ? "ca" : "proof";
}

/* --- the file of the state directory ---------------------------------------------------------- */

static int read_text(struct credentials **out, const char *path, const char *text, size_t n,
                     struct json_check *faults)
{
    struct json_object *body = NULL;
    struct json_syntax why;
    int err = json_read(&body, text, n, &why);

    if (err)
        json_fault(faults, "", "invalid", "%s does not hold JSON", path);
    else
        err = credentials_from_json(out, body, faults);
    json_object_put(body);
    return err;
}

int credentials_load(struct credentials **out, const char *state_dir, struct json_check *faults)
{
    char *path = must_printf("%s/tunnel.json", state_dir), *text;
    const char *why;
    size_t n;
    int err = regular_file_read(path, FILE_MAX, &text, &n, &why);

    if (!err) {
        err = read_text(out, path, text, n, faults);
        tls_wipe(text, n);
        free(text);
    } else if (err != -ERR_NOT_FOUND) {
        json_fault(faults, "", "invalid", "%s: %s", path, why);
        err = -ERR_IO;
    }
    free(path);
    return err;
}

static struct json_object *emit(const struct credentials *c)
{
    struct json_object *body = json_object_new_object();
    char pin[PIN_TEXT_LEN + 1];

    json_object_object_add(body, "hubHost", json_object_new_string(c->token.hub_host));
    json_object_object_add(body, "hubPort", json_object_new_int(c->token.hub_port));
    json_object_object_add(body, "edgeId", json_object_new_string(c->token.edge_id));
    json_object_object_add(body, "secret", json_object_new_string(c->token.secret));
    if (c->token.has_pin) {
        pin_emit(pin, c->token.pin);
        json_object_object_add(body, "pin", json_object_new_string(pin));
    }
    if (c->ca_file)
        json_object_object_add(body, "caFile", json_object_new_string(c->ca_file));
    return body;
}

static int write_whole(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, text, n);

        if (done < 0)
            return -ERR_IO;
        text += done;
        n -= (size_t)done;
    }
    return fsync(fd) == 0 ? 0 : -ERR_IO;
}

/* What a rename or an unlink did to the folder, on the disk. */
static int sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = fd >= 0 && fsync(fd) == 0 ? 0 : -ERR_IO;

    if (fd >= 0)
        close(fd);
    return err;
}

int credentials_save(const struct credentials *c, const char *state_dir)
{
    char *path = must_printf("%s/tunnel.json", state_dir);
    char *fresh = must_printf("%s/tunnel.json.new", state_dir);
    struct json_object *body = emit(c);
    const char *text = json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int err = fd < 0 ? -ERR_IO : write_whole(fd, text, strlen(text));

    if (fd >= 0)
        close(fd);
    if (!err && rename(fresh, path) != 0)
        err = -ERR_IO;
    if (err)
        unlink(fresh);
    else
        err = sync_folder(state_dir);
    tls_wipe((char *)(uintptr_t)text, strlen(text));
    json_object_put(body);
    free(path);
    free(fresh);
    return err;
}

/* Also one that is gone already is brought to the disk: the try before may have failed there. */
int credentials_forget(const char *state_dir)
{
    char *path = must_printf("%s/tunnel.json", state_dir);
    int err = unlink(path) == 0 ? 0 : errno == ENOENT ? -ERR_NOT_FOUND : -ERR_IO;

    if (err != -ERR_IO && sync_folder(state_dir) != 0)
        err = -ERR_IO;
    free(path);
    return err;
}
