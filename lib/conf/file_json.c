/* file_json - the configuration file: one JSON object, nested as the keys' dots say. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/reading.h"

/* A directory or a device is refused before it is read: /dev/zero has no end. */
static int open_regular(const char *path, size_t *size, const char **why)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *why = NULL;
    if (fd < 0) {
        *why = strerror(errno);
        return -1;
    }
    if (fstat(fd, &st) != 0)
        *why = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        *why = "is no regular file";
    else if (st.st_size > (off_t)CONF_FILE_MAX)
        *why = "is larger than 16 MiB";
    if (*why) {
        close(fd);
        return -1;
    }
    *size = (size_t)st.st_size;
    return fd;
}

char *conf_slurp(const char *path, size_t *n, const char **why)
{
    size_t size = 0, used = 0;
    int fd = open_regular(path, &size, why);

    if (fd < 0)
        return NULL;
    char *text = must_alloc(size + 1);
    while (used < size) {
        ssize_t got = read(fd, text + used, size - used);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            *why = strerror(errno);
            explicit_bzero(text, used);
            free(text);
            close(fd);
            return NULL;
        }
        if (got == 0)
            break; /* it became shorter meanwhile */
        used += (size_t)got;
    }
    close(fd);
    text[used] = '\0';
    *n = used;
    return text;
}

/* Is `path` above some key, as "tunnel" is above "tunnel.listen"? */
static bool is_group(const struct conf_table *table, const char *path)
{
    size_t n = strlen(path);

    for (const struct conf_key *key = table->keys; key->path; key++)
        if (strncmp(key->path, path, n) == 0 && (n == 0 || key->path[n] == '.'))
            return true;
    return false;
}

/* Did a key before this one bring the same name (of `n` bytes behind `skip`)? */
static bool is_named_before(const struct conf_table *table, const struct conf_key *until,
                            size_t skip, size_t n)
{
    for (const struct conf_key *key = table->keys; key < until; key++)
        if (strncmp(key->path, until->path, skip + n) == 0 &&
            (key->path[skip + n] == '.' || key->path[skip + n] == '\0'))
            return true;
    return false;
}

/* The names that may stand in a group, for the message about one that may not. */
static char *names_in(const struct conf_table *table, const char *group)
{
    size_t skip = strlen(group) + (*group ? 1 : 0);
    char *all = must_strdup("");

    for (const struct conf_key *key = table->keys; key->path; key++) {
        if (*group && (strncmp(key->path, group, skip - 1) != 0 || key->path[skip - 1] != '.'))
            continue;
        size_t n = strcspn(key->path + skip, ".");
        if (is_named_before(table, key, skip, n))
            continue;
        char *longer = must_printf("%s%s%.*s", all, *all ? ", " : "", (int)n, key->path + skip);
        free(all);
        all = longer;
    }
    return all;
}

static void unknown_key(struct reading *r, const char *file, const char *group, const char *path)
{
    char *pointer = conf_pointer(path, false), *names = names_in(r->table, group);

    json_fault(r->faults, pointer, "unknown", "%s: %s: no such key; %s allows %s", file, path,
               *group ? group : "the top level", names);
    free(names);
    free(pointer);
}

static void walk(struct reading *r, const char *file, const char *group, struct json_object *obj)
{
    json_object_object_foreach(obj, name, value)
    {
        char *path = must_printf("%s%s%s", group, *group ? "." : "", name);
        struct target at;

        if (strchr(name, '.')) { /* {"tunnel.listen": ...} would give one key two spellings */
            unknown_key(r, file, group, path);
        } else if (conf_find(r->table, path, &at)) {
            conf_set_json(r, at, file, value);
        } else if (!is_group(r->table, path)) {
            unknown_key(r, file, group, path);
        } else if (!json_object_is_type(value, json_type_object)) {
            char *pointer = conf_pointer(path, false);
            json_fault(r->faults, pointer, "type", "%s: %s: must be a map of keys, not %s", file,
                       path, json_type_of(value));
            free(pointer);
        } else {
            walk(r, file, path, value);
        }
        free(path);
    }
}

static void refuse_syntax(struct reading *r, const char *path, const char *text,
                          const struct json_syntax *why)
{
    size_t line, column;

    json_place(text, why->offset, &line, &column);
    json_fault(r->faults, "", "syntax", "%s: line %zu, column %zu (byte %zu): %s", path, line,
               column, why->offset, why->reason);
}

void conf_read_file(struct reading *r, const char *path)
{
    struct json_object *document = NULL;
    struct json_syntax syntax;
    const char *why = NULL;
    size_t n = 0;
    char *text = conf_slurp(path, &n, &why);

    if (!text) {
        json_fault(r->faults, "", "unreadable", "%s: %s", path, why);
        return;
    }
    if (json_read(&document, text, n, &syntax) != 0)
        refuse_syntax(r, path, text, &syntax);
    else if (!json_object_is_type(document, json_type_object))
        json_fault(r->faults, "", "type", "%s: must hold one JSON object, not %s", path,
                   json_type_of(document));
    else
        walk(r, path, "", document);
    json_object_put(document);
    explicit_bzero(text, n); /* it may hold secrets */
    free(text);
}

void conf_read_secret_files(struct reading *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct conf_key *key = &r->table->keys[i];
        struct given *given = &r->given[i];
        struct target at = {i, true};
        const char *why = NULL;
        size_t n = 0;

        if (!given->file)
            continue;
        if (given->source && !conf_is_unset(key, r->conf)) {
            conf_fault(r, at, given->file_source, "conflict",
                       "%s is given too (%s); only one of the two may be", key->path,
                       given->source);
            continue;
        }
        char *text = conf_slurp(given->file, &n, &why);
        if (!text) {
            conf_fault(r, at, given->file_source, "unreadable", "%s: %s", given->file, why);
            continue;
        }
        bool has_nul = strlen(text) != n;
        while (!has_nul && n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
            text[--n] = '\0';
        if (n == 0 || has_nul) {
            conf_fault(r, at, given->file_source, "invalid", "%s: %s", given->file,
                       has_nul ? "holds a NUL byte" : "is empty");
            explicit_bzero(text, n);
            free(text);
            continue;
        }
        conf_set_secret(r, i, text);
    }
}
