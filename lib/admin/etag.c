/* etag - see etag.h. */
#include "admin/etag.h"

#include <string.h>

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

/* One tag at p: where it ends, or NULL when it is none. */
static const char *parse_tag(const char *p, bool *is_weak, const char **opaque, size_t *n)
{
    *is_weak = p[0] == 'W' && p[1] == '/';
    if (*is_weak)
        p += 2;
    if (*p != '"')
        return NULL;
    *opaque = ++p;
    while (*p && *p != '"' && (unsigned char)*p > 0x20 && *p != 0x7f)
        p++;
    if (*p != '"')
        return NULL;
    *n = (size_t)(p - *opaque);
    return p + 1;
}

/* The whole list is read before a match counts: a broken one matches nothing. */
bool etag_list_has(const char *field, const char *etag, enum etag_compare compare)
{
    const char *p = skip_blanks(field);
    bool is_found = false, has_any = false;

    if (*p == '*')
        return *skip_blanks(p + 1) == '\0';
    while (*p) {
        const char *opaque = NULL;
        bool is_weak = false;
        size_t n = 0;

        if (*p == ',') { /* empty members are allowed to be there */
            p = skip_blanks(p + 1);
            continue;
        }
        p = parse_tag(p, &is_weak, &opaque, &n);
        if (!p)
            return false;
        has_any = true;
        if (strlen(etag) == n && memcmp(etag, opaque, n) == 0 && (!is_weak || compare == ETAG_WEAK))
            is_found = true;
        p = skip_blanks(p);
        if (*p && *p != ',')
            return false;
    }
    return has_any && is_found;
}
