/* tar - see tar.h. */
#include "doctor/tar.h"

#include <string.h>

#include "base/err.h"

#define BLOCK 512u

/* A header block, as the standard has it; numbers are octal digits with a NUL behind them. */
struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], kind, link[100];
    char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is one block");

void tar_init(struct tar *t, FILE *out, int64_t made)
{
    *t = (struct tar){.out = out, .made = made};
}

static void put(struct tar *t, const void *bytes, size_t n)
{
    if (!t->error && fwrite(bytes, 1, n, t->out) != n)
        t->error = -ERR_IO;
}

static void octal(char *field, size_t size, uint64_t value)
{
    field[size - 1] = '\0';
    for (size_t i = size - 1; i-- > 0; value >>= 3)
        field[i] = (char)('0' + (value & 7));
}

static void sum_up(struct header *h)
{
    const unsigned char *bytes = (const unsigned char *)h;
    unsigned sum = 0;

    memset(h->checksum, ' ', sizeof(h->checksum)); /* it counts as blanks */
    for (size_t i = 0; i < sizeof(*h); i++)
        sum += bytes[i];
    octal(h->checksum, sizeof(h->checksum) - 1, sum); /* digits, NUL, blank */
}

void tar_add(struct tar *t, const char *name, const void *bytes, size_t n)
{
    static const char zeroes[BLOCK];
    struct header h = {.kind = '0', .magic = "ustar", .version = {'0', '0'}};
    size_t len = strlen(name);

    must(len > 0 && len <= TAR_NAME_MAX && *name != '/');
    memcpy(h.name, name, len);
    octal(h.mode, sizeof(h.mode), 0600);
    octal(h.uid, sizeof(h.uid), 0);
    octal(h.gid, sizeof(h.gid), 0);
    octal(h.size, sizeof(h.size), n);
    octal(h.mtime, sizeof(h.mtime), (uint64_t)t->made);
    octal(h.major, sizeof(h.major), 0);
    octal(h.minor, sizeof(h.minor), 0);
    sum_up(&h);
    put(t, &h, sizeof(h));
    put(t, bytes, n);
    put(t, zeroes, (BLOCK - n % BLOCK) % BLOCK);
}

int tar_end(struct tar *t)
{
    static const char zeroes[2 * BLOCK];

    put(t, zeroes, sizeof(zeroes));
    if (!t->error && fflush(t->out) != 0)
        t->error = -ERR_IO;
    return t->error;
}
