/* registry_store - see registry_store.h. */
#include "hub/registry_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/err.h"
#include "base/log.h"
#include "hub/hub_conf.h"
#include "hub/unix_time.h"
#include "loop/loop.h"
#include "tls/tls.h"
#include "wire/base64url.h"
#include "json/json.h"

#define KIND_EDGE    "edge"
#define KIND_CONF    "conf"
#define DIGEST_CHARS 43 /* 32 bytes in base64url */

/* --- an edge as a record
 * --------------------------------------------------------------------------- */

static const char *text_of(struct json_object *o)
{
    return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
}

/* The caller's: wipe it. */
static char *secrets_emit(const struct edge *edge)
{
    struct json_object *o = json_object_new_object();
    char *text;

    json_object_object_add(o, "secret", json_object_new_string(edge->secret));
    if (edge->old_secret[0]) {
        json_object_object_add(o, "oldSecret", json_object_new_string(edge->old_secret));
        json_object_object_add(o, "oldUntil", json_object_new_int64(edge->old_until.until_unix));
    }
    text = must_strdup(text_of(o));
    json_object_put(o);
    return text;
}

void registry_batch_put(struct store_batch *b, const struct edge *edge)
{
    struct json_object *body = edge_emit(edge);
    char *secrets = secrets_emit(edge);

    json_object_object_del(body, "oldSecretGoodUntil"); /* with the secret */
    store_batch_put(b, KIND_EDGE, edge->id, text_of(body), secrets, strlen(secrets));
    json_object_put(body);
    tls_wipe(secrets, strlen(secrets));
    free(secrets);
}

void registry_batch_remove(struct store_batch *b, const char *id)
{
    store_batch_remove(b, KIND_EDGE, id);
}

/* --- loading
 * --------------------------------------------------------------------------------------- */

struct loading {
    struct registry *registry;
    uint64_t now_ms;
    int err; /* the first */
    char why[STORE_WHY_BYTES];
};

static void fail(struct loading *l, int err, const char *id, const char *what)
{
    if (l->err)
        return;
    l->err = err;
    snprintf(l->why, sizeof(l->why), "the stored edge %s: %s", id, what);
}

/* The old secret is good until its time on the wall clock, which has gone on meanwhile. */
static void take_old_secret(struct loading *l, struct edge *edge, const char *secret, int64_t until)
{
    int64_t now = unix_time_now();

    if (!secret || until <= now)
        return;
    snprintf(edge->old_secret, sizeof(edge->old_secret), "%s", secret);
    until = MIN(until, now + GRACE_SECS_MAX); /* or a clock that was wrong makes it for ever */
    edge->old_until = secret_grace_of((uint64_t)(until - now) * 1000, l->now_ms, now);
}

static struct json_object *read_json(const void *text, size_t n)
{
    struct json_object *o = NULL;
    struct json_syntax syntax;

    return json_read(&o, text, n, &syntax) == 0 ? o : NULL;
}

static void load_edge(struct loading *l, struct edge_spec *spec, struct json_object *body,
                      struct json_object *secrets, struct json_check *faults)
{
    const char *secret, *old;
    int64_t old_until;
    unsigned change;

    edge_spec_parse(spec, body, SPEC_FROM_API, NULL, faults, "");
    secret = json_str(faults, "", secrets, "secret", JSON_REQUIRED, SECRET_MIN, SECRET_MAX);
    old = json_str(faults, "", secrets, "oldSecret", JSON_OPTIONAL, SECRET_MIN, SECRET_MAX);
    old_until = json_int(faults, "", secrets, "oldUntil", JSON_OPTIONAL, 0, INT64_MAX, 0);
    if (json_check_failed(faults)) {
        fail(l, -ERR_SYNTAX, spec->id, faults->faults[0].detail);
        return;
    }
    snprintf(spec->secret, sizeof(spec->secret), "%s", secret);
    if (registry_put(l->registry, spec, &change) != 0)
        fail(l, -ERR_LIMIT, spec->id, "the store holds more edges than limits.edges allows");
    else
        take_old_secret(l, registry_find(l->registry, spec->id), old, old_until);
}

static void on_edge(void *arg, const struct store_record *record)
{
    struct loading *l = arg;
    struct json_object *body = read_json(record->body, strlen(record->body));
    struct json_object *secrets =
        record->secret ? read_json(record->secret, record->secret_len) : NULL;
    struct json_check faults;
    struct edge_spec spec;

    json_check_init(&faults);
    edge_spec_init(&spec);
    if (!edge_id_is_valid(record->id)) {
        fail(l, -ERR_SYNTAX, "?", "its id is none");
    } else {
        snprintf(spec.id, sizeof(spec.id), "%s", record->id);
        load_edge(l, &spec, body, secrets, &faults);
    }
    edge_spec_fini(&spec);
    json_check_fini(&faults);
    json_object_put(body);
    json_object_put(secrets);
}

static int load(struct store *s, struct registry *r, struct loop *loop, char *why, size_t why_size)
{
    struct loading l = {.registry = r, .now_ms = loop_now_ms(loop)};
    int err = store_load(s, KIND_EDGE, on_edge, &l, why, why_size);

    if (err || !l.err)
        return err;
    snprintf(why, why_size, "%s", l.why);
    return l.err;
}

/* --- opening
 * --------------------------------------------------------------------------------------- */

static char *path_in(const char *state_dir, const char *given, const char *fallback)
{
    const char *name = *given ? given : fallback;

    return *name == '/' ? must_strdup(name) : must_printf("%s/%s", state_dir, name);
}

static char *database_path(const struct hub_conf *conf)
{
    return path_in(conf->service.state_dir, conf->store_url + strlen(STORE_SCHEME), "");
}

static bool is_missing(const char *path)
{
    return access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

/* A key that is made beside a database opens nothing, and the next backup would take it for the
 * right one. */
static int look_for_key(const char *path, const struct hub_conf *conf, char *why, size_t why_size)
{
    char *database = database_path(conf);
    bool is_lost = is_missing(path) && !is_missing(database);

    if (is_lost)
        snprintf(why, why_size, "%s is missing; bring it back", path);
    free(database);
    return is_lost ? -ERR_AUTH : 0;
}

/* The file holds a text like those of other secrets; the store's key is made of it. */
static int read_key(const struct hub_conf *conf, uint8_t key[STORE_KEY_BYTES], char *why,
                    size_t why_size)
{
    static const char label[] = "penstock store v1";
    char *path = path_in(conf->service.state_dir, conf->store_key_file, "store.key");
    char *text = NULL;
    int err = look_for_key(path, conf, why, why_size);

    if (!err)
        err = admin_secret_file(path, &text, why, why_size);
    if (!err)
        tls_hmac_sha256(text, strlen(text), label, strlen(label), key);
    if (text)
        tls_wipe(text, strlen(text));
    free(text);
    free(path);
    return err;
}

/* The folder, where what is in it cannot be written; else `key`. */
static const char *fault_at(const struct hub_conf *conf, bool is_in_folder, const char *key)
{
    return is_in_folder && access(conf->service.state_dir, W_OK | X_OK) != 0 ? "stateDir" : key;
}

int registry_store_open(struct store **out, struct registry *r, struct loop *loop,
                        const struct hub_conf *conf, const char **what, char *why, size_t why_size)
{
    const char *file = conf->store_url + strlen(STORE_SCHEME);
    char *path = database_path(conf);
    uint8_t key[STORE_KEY_BYTES];
    int err = read_key(conf, key, why, why_size);

    *out = NULL;
    *what = err ? fault_at(conf, *conf->store_key_file != '/', "store.keyFile")
                : fault_at(conf, *file != '/', "store.url");
    if (!err)
        err = store_open(
            out,
            &(struct store_options){
                .loop = loop, .path = path, .key = key, .queue_max = REGISTRY_STORE_QUEUE},
            why, why_size);
    if (!err)
        err = load(*out, r, loop, why, why_size);
    tls_wipe(key, sizeof(key));
    free(path);
    return err;
}

int registry_store_look(const struct hub_conf *conf, char *why, size_t why_size)
{
    char *path = database_path(conf);
    uint8_t key[STORE_KEY_BYTES];
    int err = 0;

    if (is_missing(path)) {
        snprintf(why, why_size, "%s", path);
        err = -ERR_NOT_FOUND;
    } else if (read_key(conf, key, why, why_size) != 0) {
        err = -ERR_AUTH;
    }
    if (!err)
        err = store_look(path, key, why, why_size);
    if (!err)
        snprintf(why, why_size, "%s", path);
    tls_wipe(key, sizeof(key));
    free(path);
    return err;
}

/* --- the configuration's list
 * ---------------------------------------------------------------------- */

struct digest {
    char id[EDGE_ID_MAX + 1];
    char text[DIGEST_CHARS + 1]; /* "": it left the list, and is new should it be listed again */
    bool is_listed;              /* in the configuration still */
};

struct digests {
    struct digest *all; /* owned, by id */
    size_t count, cap;
};

static void on_digest(void *arg, const struct store_record *record)
{
    struct digests *d = arg;
    struct digest *one;

    if (d->count == d->cap) {
        struct digest *grown;

        d->cap = d->cap ? 2 * d->cap : 16;
        grown = must_alloc(d->cap * sizeof(*grown));
        if (d->count)
            memcpy(grown, d->all, d->count * sizeof(*grown));
        free(d->all);
        d->all = grown;
    }
    one = &d->all[d->count++];
    *one = (struct digest){.is_listed = false};
    snprintf(one->id, sizeof(one->id), "%s", record->id);
    if (record->secret && record->secret_len == DIGEST_CHARS)
        memcpy(one->text, record->secret, DIGEST_CHARS);
}

static int by_id(const void *a, const void *b)
{
    return strcmp(a, ((const struct digest *)b)->id);
}

/* Of all that the entry says, its secret too: it is stored sealed, or guesses could be tried on it.
 */
static void digest_of(const struct edge_spec *spec, char out[DIGEST_CHARS + 1])
{
    struct edge edge = {.ports = spec->ports, /* borrowed */
                        .ports_udp = spec->ports_udp,
                        .stun_interval_secs = spec->stun_interval_secs,
                        .max_instances = spec->max_instances,
                        .is_enabled = spec->is_enabled};
    struct json_object *body;
    uint8_t bytes[32];
    const char *text;

    memcpy(edge.id, spec->id, sizeof(edge.id));
    body = edge_emit(&edge);
    text = text_of(body);
    tls_hmac_sha256(spec->secret, strlen(spec->secret), text, strlen(text), bytes);
    base64url_emit(out, bytes, sizeof(bytes));
    json_object_put(body);
}

/* True: the entry is the one that was applied last. */
static bool is_known(struct digests *d, const struct edge_spec *spec, const char *digest)
{
    struct digest *known =
        d->count ? bsearch(spec->id, d->all, d->count, sizeof(*d->all), by_id) : NULL;

    if (!known)
        return false;
    known->is_listed = true;
    return strcmp(known->text, digest) == 0;
}

static int apply(struct registry *r, struct store_batch *b, struct digests *d,
                 struct edge_spec *spec, size_t *applied)
{
    char digest[DIGEST_CHARS + 1];
    unsigned change;
    int err;

    digest_of(spec, digest);
    if (is_known(d, spec, digest))
        return 0;
    err = registry_put(r, spec, &change);
    if (err)
        return err;
    registry_batch_put(b, registry_find(r, spec->id));
    store_batch_put(b, KIND_CONF, spec->id, "", digest, DIGEST_CHARS);
    (*applied)++;
    log_info("hub", "edge_of_configuration", LOG_S("edge", spec->id));
    return 0;
}

/* Its edge stays where it is, and whoever took the entry out may think that it was revoked: so it
 * is told, at every start. */
static void tell_gone(const char *id, size_t gone)
{
    if (gone <= REGISTRY_GONE_TOLD)
        log_warn("hub", "edge_not_in_configuration", LOG_S("edge", id),
                 LOG_S("hint", "it is registered still: DELETE /v1/edges/{id} revokes it"));
}

/* The entries that are not listed any more.  How many records change. */
static size_t leave_unlisted(struct registry *r, struct store_batch *b, const struct digests *d)
{
    size_t changed = 0, gone = 0;

    for (size_t i = 0; i < d->count; i++) {
        const struct digest *one = &d->all[i];

        if (one->is_listed)
            continue;
        if (!registry_find(r, one->id)) {
            store_batch_remove(b, KIND_CONF, one->id);
            changed++;
            continue;
        }
        tell_gone(one->id, ++gone);
        if (one->text[0]) {
            store_batch_put(b, KIND_CONF, one->id, "", NULL, 0);
            changed++;
        }
    }
    if (gone > REGISTRY_GONE_TOLD)
        log_warn("hub", "edges_not_in_configuration", LOG_U("untold", gone - REGISTRY_GONE_TOLD));
    return changed;
}

int registry_store_fill(struct store *s, struct registry *r, struct edge_spec *specs, size_t count,
                        struct store_batch **unwritten, char *why, size_t why_size)
{
    struct store_batch *b = store_batch_new();
    struct digests d = {.all = NULL};
    char not_stored[STORE_WHY_BYTES] = "";
    size_t applied = 0;
    int err = store_load(s, KIND_CONF, on_digest, &d, why, why_size);

    *unwritten = NULL;
    for (size_t i = 0; !err && i < count; i++)
        if ((err = apply(r, b, &d, &specs[i], &applied)) != 0)
            snprintf(why, why_size,
                     "with those of the store they are more than limits.edges allows");
    if (!err)
        applied += leave_unlisted(r, b, &d);
    if (!err && applied && store_write(s, b, not_stored, sizeof(not_stored)) != 0) {
        log_warn("hub", "edges_not_stored", LOG_S("why", not_stored));
        *unwritten = b;
        b = NULL;
    }
    store_batch_free(b);
    free(d.all);
    return err;
}
