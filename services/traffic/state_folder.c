/* state_folder - see state_folder.h. */
#include "traffic/state_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "admin/admin.h"
#include "admin/service.h"
#include "base/err.h"
#include "base/log.h"
#include "tls/tls.h"
#include "traffic/route_file.h"
#include "traffic/route_store.h"

/* --- the folder ------------------------------------------------------------------------------ */

/* Of the folder itself: no file comes to be, and one that is read-only can be locked too.  It ends
 * with the process, however that ends.  Where locks don't work it goes without. */
static int take_lock(struct state_folder *s)
{
    char why[300];

    s->lock_fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->lock_fd < 0 || flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno != EWOULDBLOCK) {
        log_warn("routes", "state_not_locked", LOG_S("folder", s->path),
                 LOG_S("error", strerrordesc_np(errno)));
        return 0;
    }
    snprintf(why, sizeof(why), "%.200s: another process uses it", s->path);
    return service_start_failed("traffic", -ERR_CONFLICT, "stateDir", why);
}

/* Whether it is the key that cannot be used, and not the folder. */
static bool is_key_at_fault(const struct state_folder *s, const char *key_path)
{
    return faccessat(AT_FDCWD, key_path, F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
           access(s->path, W_OK | X_OK) == 0;
}

static int read_key(struct state_folder *s)
{
    char *path = must_printf("%s/auth-key", s->path), *secret = NULL;
    int err = 0;

    s->is_usable = admin_secret_file(path, &secret, s->why, sizeof(s->why)) == 0;
    if (s->is_usable) {
        auth_key_derive(&s->auth_key, secret);
        tls_wipe(secret, strlen(secret));
        free(secret);
    } else if (is_key_at_fault(s, path)) {
        err = service_start_failed("traffic", -ERR_IO, "auth-key", s->why);
    } else {
        auth_key_init(&s->auth_key);
        log_err("routes", "state_unusable", LOG_S("error", s->why),
                LOG_S("effect", "routes end with the process"));
    }
    free(path);
    return err;
}

int state_folder_open(struct state_folder *s, const char *path)
{
    int err;

    *s = (struct state_folder){.path = path, .lock_fd = -1, .first = FIRST_NONE};
    err = read_key(s); /* it makes the folder, too */
    return err ? err : take_lock(s);
}

void state_folder_close(struct state_folder *s)
{
    if (!s->path)
        return;
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    auth_key_fini(&s->auth_key);
    memset(s, 0, sizeof(*s));
}

/* --- the set to begin with ------------------------------------------------------------------- */

size_t state_folder_passwords_lost(const struct route_set *set)
{
    size_t count = 0;

    for (size_t i = 0; i < set->count; i++)
        count += set->routes[i].auth && set->routes[i].auth->is_lost;
    return count;
}

static void tell_passwords(const struct route_set *set)
{
    size_t count = state_folder_passwords_lost(set);

    for (size_t i = 0; count > 0 && i < set->count; i++) {
        if (!set->routes[i].auth || !set->routes[i].auth->is_lost)
            continue;
        log_err("routes", "passwords_lost", LOG_U("routes", count),
                LOG_S("first", set->routes[i].host),
                LOG_S("cause", "auth-key is not the one that they were stored under"),
                LOG_S("effect", "no password is right until these routes are put anew"));
        return;
    }
}

static void tell_left_out(const struct json_check *left_out)
{
    for (size_t i = 0; i < left_out->count; i++)
        log_err("routes", "route_left_out", LOG_S("pointer", left_out->faults[i].pointer),
                LOG_S("error", left_out->faults[i].detail));
}

/* What is stored; NULL: nothing that can be used. */
static struct route_set *read_stored(struct state_folder *s)
{
    struct route_store_found found;
    char why[512] = "";
    int rc = route_store_read(s->path, &s->auth_key, &found, why, sizeof(why));

    if (rc == 0) {
        s->routes_left_out = found.left_out.total;
        s->first = found.set->count == 0 && s->routes_left_out > 0 ? FIRST_LOST : FIRST_STORED;
        tell_left_out(&found.left_out);
        tell_passwords(found.set);
    } else if (rc != -ERR_NOT_FOUND) {
        s->first = FIRST_LOST;
        log_err("routes", "state_unreadable", LOG_S("folder", s->path), LOG_S("error", why));
    }
    json_check_fini(&found.left_out);
    return found.set;
}

struct route_set *state_folder_first(struct state_folder *s, const struct traffic_conf *conf)
{
    struct route_set *set = read_stored(s);

    if (set)
        return set;
    if (conf->routes_file[0])
        s->first = FIRST_FILE;
    return route_file_load(conf->routes_file, &conf->limits, &s->auth_key, stderr);
}

int state_folder_store(const struct state_folder *s, const struct route_set *set, char *why,
                       size_t why_size)
{
    if (s->is_usable)
        return route_store_write(s->path, set, why, why_size);
    snprintf(why, why_size, "%s", s->why);
    return -ERR_IO;
}
