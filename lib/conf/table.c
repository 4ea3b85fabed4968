/* table - finding keys: by path, by variable, and what a secret's companion is called. */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "conf/reading.h"

size_t conf_count(const struct conf_table *table)
{
    size_t n = 0;

    while (table->keys[n].path)
        n++;
    return n;
}

void *conf_member(const struct conf_key *key, const void *conf)
{
    return (char *)(uintptr_t)conf + key->offset;
}

/* Does `name` say "<path>File"? */
static bool is_companion_name(const char *path, const char *name)
{
    size_t n = strlen(path);

    return strncmp(path, name, n) == 0 && strcmp(name + n, "File") == 0;
}

bool conf_has_companion(const struct conf_table *table, const struct conf_key *key)
{
    if (key->kind != CONF_SECRET)
        return false;
    for (size_t i = 0; table->keys[i].path; i++)
        if (is_companion_name(key->path, table->keys[i].path))
            return false;
    return true;
}

bool conf_find(const struct conf_table *table, const char *path, struct target *out)
{
    for (size_t i = 0; table->keys[i].path; i++)
        if (strcmp(table->keys[i].path, path) == 0) {
            *out = (struct target){i, false};
            return true;
        }
    for (size_t i = 0; table->keys[i].path; i++)
        if (is_companion_name(table->keys[i].path, path) &&
            conf_has_companion(table, &table->keys[i])) {
            *out = (struct target){i, true};
            return true;
        }
    return false;
}

char *conf_variable(const char *path, bool is_file)
{
    static const char prefix[] = "PENSTOCK_";
    char *out = must_alloc(sizeof(prefix) + 2 * strlen(path) + sizeof("_FILE"));
    char *p = out + sizeof(prefix) - 1;

    memcpy(out, prefix, sizeof(prefix) - 1);
    for (; *path; path++) {
        unsigned char c = (unsigned char)*path;

        if (c == '.') {
            *p++ = '_';
            *p++ = '_';
            continue;
        }
        if (isupper(c))
            *p++ = '_';
        *p++ = (char)toupper(c);
    }
    memcpy(p, is_file ? "_FILE" : "", is_file ? sizeof("_FILE") : 1);
    return out;
}

char *conf_dotted(const char *path, bool is_file)
{
    return must_printf("%s%s", path, is_file ? "File" : "");
}

char *conf_pointer(const char *path, bool is_file)
{
    char *out = must_printf("/%s%s", path, is_file ? "File" : "");

    for (char *p = out; *p; p++)
        if (*p == '.')
            *p = '/';
    return out;
}

void conf_fault(struct reading *r, struct target at, const char *source, const char *code,
                const char *fmt, ...)
{
    const struct conf_key *key = &r->table->keys[at.index];
    char *pointer = conf_pointer(key->path, at.is_file);
    char *text = NULL;
    va_list args;

    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    must(n >= 0);
    json_fault(r->faults, pointer, code, "%s: %s%s: %s", source, key->path,
               at.is_file ? "File" : "", text);
    r->given[at.index].is_faulty = true;
    free(text);
    free(pointer);
}
