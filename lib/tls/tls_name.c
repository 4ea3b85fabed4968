/* tls_name - host names as TLS sees them: what a client may ask for, and what is an address. */
#include <arpa/inet.h>
#include <string.h>

#include "tls/tls_internal.h"

/* Letters, digits, hyphen; and the underscore, which names in use have. */
static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* A name ends here only when all of it is one: whoever reads a refused one finds it empty. */
static size_t normalise(char out[TLS_SNI_MAX + 1], const char *name, size_t n)
{
    size_t label = 0;

    for (size_t i = 0; i < n; i++) {
        char c = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] | 0x20) : name[i];

        if (c == '.' ? label == 0 : !is_name_char(c))
            return 0;
        label = c == '.' ? 0 : label + 1;
        if (label > 63)
            return 0;
        out[i] = c;
    }
    return label > 0 ? n : 0; /* 0: a second dot at the end */
}

int tls_name_normalise(char out[TLS_SNI_MAX + 1], const char *name, size_t n)
{
    if (n > 0 && name[n - 1] == '.')
        n--;
    n = n <= TLS_SNI_MAX ? normalise(out, name, n) : 0;
    out[n] = '\0';
    return n > 0 ? 0 : -ERR_SYNTAX;
}

size_t tls_name_address(const char *name, uint8_t out[16])
{
    if (inet_pton(AF_INET, name, out) == 1)
        return 4;
    return inet_pton(AF_INET6, name, out) == 1 ? 16 : 0;
}
