/* route_store - see route_store.h.  The text is that of PUT /v1/routes, with the MACs of a password
 * in its place and the revision beside the list; so the same reader reads it. */
#include "traffic/route_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/regular_file.h"
#include "tls/tls.h"
#include "traffic/route_json.h"
#include "json/json_scan.h"

#define FILE_NAME    "routes.json"
#define STORE_FORMAT 1
#define BYTES_MAX    ((size_t)2 << 30)
#define PIECE_BYTES  (64u << 10) /* written at once */
#define ROOM_FIRST   (96u << 10) /* a piece, and the route that makes it full */

/* --- the text ----------------------------------------------------------------------------------
 */

/* Grows; nothing of it is left behind in memory. */
struct text {
    char *bytes; /* owned */
    size_t len, room;
};

static void text_fini(struct text *t)
{
    if (t->bytes)
        tls_wipe(t->bytes, t->room);
    free(t->bytes);
}

/* Not realloc(), which would leave copies of the keys behind. */
static char *text_reserve(struct text *t, size_t n)
{
    if (t->room - t->len < n) {
        size_t room = MAX(MAX(2 * t->room, ROOM_FIRST), t->len + n);
        char *bytes = malloc(room);

        must(bytes != NULL);
        if (t->bytes) {
            memcpy(bytes, t->bytes, t->len);
            tls_wipe(t->bytes, t->room);
            free(t->bytes);
        }
        t->bytes = bytes;
        t->room = room;
    }
    return t->bytes + t->len;
}

static void put(struct text *t, const char *s)
{
    size_t n = strlen(s);

    memcpy(text_reserve(t, n), s, n);
    t->len += n;
}

/* As a JSON string.  What is in a set was a JSON string once: it is UTF-8 without NUL.  Runs of
 * plain characters are copied at once: a PEM text has one line feed in 65. */
static void put_string(struct text *t, const char *s)
{
    static const char digits[] = "0123456789abcdef";
    const char *end = s + strlen(s);
    char *at = text_reserve(t, 6 * (size_t)(end - s) + 2), *begin = at;

    *at++ = '"';
    while (s < end) {
        const char *run = s;

        while ((s = json_skip_plain(s, end)) < end && (unsigned char)*s >= 0x80)
            s++;
        memcpy(at, run, (size_t)(s - run));
        at += s - run;
        if (s == end)
            break;
        *at++ = '\\';
        if (*s == '\n') {
            *at++ = 'n';
        } else if (*s == '"' || *s == '\\') {
            *at++ = *s;
        } else {
            memcpy(at, "u00", 3);
            at[3] = digits[(unsigned char)*s >> 4];
            at[4] = digits[(unsigned char)*s & 15];
            at += 5;
        }
        s++;
    }
    *at++ = '"';
    t->len += (size_t)(at - begin);
}

static void put_member(struct text *t, const char *name, const char *value)
{
    put(t, ",\"");
    put(t, name);
    put(t, "\":");
    put_string(t, value);
}

static void put_destinations(struct text *t, const struct route *route)
{
    char host[ADDR_TEXT_MAX], port[16];

    put(t, ",\"destinationIps\":[");
    for (size_t i = 0; i < route->destination_count; i += route->port_count) {
        put(t, i > 0 ? "," : "");
        put_string(t, addr_format_host(&route->destinations[i].addr, host));
    }
    put(t, "],\"destinationPorts\":[");
    for (size_t i = 0; i < route->port_count; i++) {
        snprintf(port, sizeof(port), "%s%u", i > 0 ? "," : "",
                 addr_port(&route->destinations[i].addr));
        put(t, port);
    }
    put(t, "]");
}

static void put_certificate(struct text *t, const struct route_cert *cert)
{
    put_member(t, "publicKey", cert->texts[0].chain_pem);
    put_member(t, "privateKey", cert->texts[0].key_pem);
    for (unsigned i = 1; i < cert->count; i++) {
        put(t, i == 1 ? ",\"moreKeys\":[{\"publicKey\":" : ",{\"publicKey\":");
        put_string(t, cert->texts[i].chain_pem);
        put_member(t, "privateKey", cert->texts[i].key_pem);
        put(t, i + 1 == cert->count ? "}]" : "}");
    }
}

static void put_auth(struct text *t, const struct route_auth *auth)
{
    char user_mac[2 * AUTH_MAC_BYTES + 1], pass_mac[2 * AUTH_MAC_BYTES + 1];

    for (size_t i = 0; i < AUTH_MAC_BYTES; i++) {
        snprintf(user_mac + 2 * i, 3, "%02x", auth->user_mac[i]);
        snprintf(pass_mac + 2 * i, 3, "%02x", auth->pass_mac[i]);
    }
    put(t, ",\"authentication\":{\"type\":\"Basic\"");
    put_member(t, "user", auth->user);
    if (auth->hash) {
        put_member(t, "passHash", auth->hash);
    } else {
        put_member(t, "userMac", user_mac);
        put_member(t, "passMac", pass_mac);
    }
    put(t, "}");
}

static void put_route(struct text *t, const struct route *route)
{
    const char *options = route->options->text;

    put(t, "{\"hostName\":");
    put_string(t, route->host);
    put_destinations(t, route);
    put_certificate(t, route->cert);
    if (route->auth)
        put_auth(t, route->auth);
    if (options[0]) { /* an object: its members, and the end */
        put(t, ",");
        put(t, options + 1);
    } else {
        put(t, "}");
    }
}

/* --- the files ---------------------------------------------------------------------------------
 */

static int say(char *why, size_t why_size, const char *folder, const char *what)
{
    snprintf(why, why_size, "%s/" FILE_NAME ": %s: %s", folder, what, strerrordesc_np(errno));
    return -ERR_IO;
}

/* What is in the text, which is empty then. */
static bool flush(int fd, struct text *t)
{
    const char *bytes = t->bytes;

    while (t->len > 0) {
        ssize_t sent = write(fd, bytes, t->len);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        bytes += sent;
        t->len -= (size_t)sent;
    }
    return true;
}

/* Piece by piece: megabytes of text never stand in memory. */
static bool write_set(int fd, const struct route_set *set)
{
    struct text t = {.bytes = NULL};
    bool goes_on = true;
    char head[96];

    snprintf(head, sizeof(head), "{\"format\":%d,\"revision\":%" PRIu64 ",\"routes\":[",
             STORE_FORMAT, set->revision);
    put(&t, head);
    for (size_t i = 0; goes_on && i < set->count; i++) {
        put(&t, i > 0 ? ",\n" : "\n");
        put_route(&t, &set->routes[i]);
        if (t.len >= PIECE_BYTES)
            goes_on = flush(fd, &t);
    }
    put(&t, "\n]}\n");
    goes_on = goes_on && flush(fd, &t);
    text_fini(&t);
    return goes_on;
}

/* The new file, whole and on the disk. */
static int write_new(int folder_fd, const char *folder, const struct route_set *set, char *why,
                     size_t why_size)
{
    int fd;

    (void)unlinkat(folder_fd, FILE_NAME ".new", 0); /* of one that was killed */
    fd = openat(folder_fd, FILE_NAME ".new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return say(why, why_size, folder, "create");
    if (!write_set(fd, set) || fsync(fd) != 0) {
        int rc = say(why, why_size, folder, "write");

        close(fd);
        (void)unlinkat(folder_fd, FILE_NAME ".new", 0);
        return rc;
    }
    close(fd);
    return 0;
}

int route_store_write(const char *folder, const struct route_set *set, char *why, size_t why_size)
{
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

    if (folder_fd < 0)
        return say(why, why_size, folder, "open");
    rc = write_new(folder_fd, folder, set, why, why_size);
    if (rc == 0 && renameat(folder_fd, FILE_NAME ".new", folder_fd, FILE_NAME) != 0)
        rc = say(why, why_size, folder, "rename");
    if (rc == 0 && fsync(folder_fd) != 0)
        rc = say(why, why_size, folder, "fsync");
    close(folder_fd);
    return rc;
}

/* --- reading ------------------------------------------------------------------------------------
 */

static struct route_set *parse_set(struct json_object *body, struct json_list *list,
                                   struct route_build *b)
{
    struct json_object *routes = NULL;
    struct route_set *set = NULL;
    int64_t format, revision;

    format = json_int(&b->faults, "", body, "format", JSON_REQUIRED, STORE_FORMAT, STORE_FORMAT, 0);
    revision = json_int(&b->faults, "", body, "revision", JSON_REQUIRED, 0, INT64_MAX, 0);
    if (format == STORE_FORMAT && json_object_object_get_ex(body, "routes", &routes))
        set = route_json_parse_list(b, routes, list);
    if (set)
        route_set_number(set, (uint64_t)revision);
    return set;
}

static int parse(const char *text, size_t n, const struct auth_key *key,
                 struct route_store_found *out, char *why, size_t why_size)
{
    struct json_syntax syntax;
    struct json_object *body;
    struct json_list list;
    struct route_build b;

    if (json_read_list(&body, &list, route_shape_rest.path, text, n, &syntax) != 0) {
        snprintf(why, why_size, "byte %zu: %s", syntax.offset, syntax.reason);
        return -ERR_SYNTAX;
    }
    route_build_init(&b, key, NULL);
    b.is_stored = true;
    out->set = parse_set(body, &list, &b);
    if (!out->set)
        snprintf(why, why_size, "%s %s", b.faults.count ? b.faults.faults[0].pointer : "",
                 b.faults.count ? b.faults.faults[0].detail : "there are no routes in it");
    out->left_out = b.left_out;
    json_check_init(&b.left_out);
    route_build_fini(&b);
    json_list_fini(&list);
    route_json_wipe(body);
    json_object_put(body);
    return out->set ? 0 : -ERR_SYNTAX;
}

static int read_file(const char *path, const struct auth_key *key, struct route_store_found *out,
                     char *why, size_t why_size)
{
    const char *fault;
    char *text;
    size_t n;
    int rc = regular_file_read(path, BYTES_MAX, &text, &n, &fault);

    if (rc != 0) {
        snprintf(why, why_size, "%s: %s", path, fault);
        return rc == -ERR_NOT_FOUND ? rc : -ERR_IO;
    }
    rc = parse(text, n, key, out, why, why_size);
    tls_wipe(text, n);
    free(text);
    return rc;
}

int route_store_read(const char *folder, const struct auth_key *key, struct route_store_found *out,
                     char *why, size_t why_size)
{
    char *path = must_printf("%s/" FILE_NAME, folder);
    char *aside = must_printf("%s.bad", path), *whole = must_printf("%s.whole", path);
    int rc;

    *out = (struct route_store_found){.set = NULL};
    json_check_init(&out->left_out);
    rc = read_file(path, key, out, why, why_size);
    if (rc == -ERR_SYNTAX) {
        (void)rename(path, aside); /* for people to look at; the next set takes its place */
    } else if (rc == -ERR_NOT_FOUND && access(aside, F_OK) == 0) {
        snprintf(why, why_size, "%s was put aside by an earlier start", aside);
        rc = -ERR_SYNTAX;
    } else if (rc == 0 && json_check_failed(&out->left_out)) {
        (void)unlink(whole);
        if (link(path, whole) != 0) /* the next edit is stored without them */
            log_warn("routes", "not_kept_whole", LOG_S("path", whole),
                     LOG_S("error", strerrordesc_np(errno)));
    }
    free(path);
    free(aside);
    free(whole);
    return rc;
}
