/* identity - see identity.h. */
#include "wire/identity.h"

#include <stddef.h>
#include <string.h>

/* Not isalnum(): that one asks the locale. */
static bool is_alnum(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_made_of(const char *s, size_t min, size_t max, const char *others)
{
    size_t n = 0;

    if (!s)
        return false;
    for (; s[n]; n++)
        if (n == max || (!is_alnum(s[n]) && !strchr(others, s[n])))
            return false;
    return n >= min;
}

bool edge_id_is_valid(const char *id)
{
    return is_made_of(id, 1, EDGE_ID_MAX, "._-");
}

bool secret_is_valid(const char *secret)
{
    return is_made_of(secret, SECRET_MIN, SECRET_MAX, "-_.~");
}

bool host_is_valid(const char *host)
{
    return is_made_of(host, 1, HOST_MAX, "._:-");
}

bool instance_is_valid(const char *instance)
{
    size_t n = 0;

    if (!instance)
        return false;
    for (; instance[n]; n++)
        if (n == INSTANCE_MAX || (unsigned char)instance[n] < 0x20 || instance[n] == 0x7f)
            return false;
    return n > 0;
}
