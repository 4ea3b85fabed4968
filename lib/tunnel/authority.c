/* authority - see authority.h. */
#include "tunnel/authority.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"

static bool has(const uint64_t *bits, uint16_t port)
{
    return bits[port / 64] >> (port % 64) & 1;
}

void authority_init(struct authority *a)
{
    *a = (struct authority){0};
}

void authority_fini(struct authority *a)
{
    free(a->fading);
    a->fading = NULL;
    a->fading_count = 0;
}

/* Keeps what is still good and was not given back by the new configuration. */
static void sweep(struct authority *a, uint64_t now_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < a->fading_count; i++) {
        struct fading_port *f = &a->fading[i];

        if (f->until_ms > now_ms && !has(a->bits, f->port))
            a->fading[kept++] = *f;
    }
    a->fading_count = kept;
}

static void fade(struct authority *a, uint16_t port, uint64_t revision, uint64_t now_ms)
{
    if (!a->fading)
        a->fading = must_alloc(AUTHORITY_FADING_MAX * sizeof(*a->fading));
    if (a->fading_count ==
        AUTHORITY_FADING_MAX) { /* a quarter at once, or each port would cost this */
        a->fading_count -= AUTHORITY_FADING_MAX / 4;
        memmove(a->fading, a->fading + AUTHORITY_FADING_MAX / 4,
                a->fading_count * sizeof(*a->fading));
    }
    a->fading[a->fading_count++] = (struct fading_port){
        .until_ms = now_ms + AUTHORITY_AFTER_CONFIG_MS, .revision = revision, .port = port};
}

void authority_config(struct authority *a, uint64_t revision, const uint16_t *ports, size_t n,
                      uint64_t now_ms)
{
    uint64_t before[1024];

    memcpy(before, a->bits, sizeof(before));
    memset(a->bits, 0, sizeof(a->bits));
    for (size_t i = 0; i < n; i++)
        a->bits[ports[i] / 64] |= (uint64_t)1 << (ports[i] % 64);
    a->revision = revision;
    sweep(a, now_ms);
    for (unsigned port = 0; port < 65536; port++) {
        if (!before[port / 64]) {
            port |= 63; /* 64 ports at once that were not in force before */
            continue;
        }
        if (has(before, (uint16_t)port) && !has(a->bits, (uint16_t)port))
            fade(a, (uint16_t)port, revision, now_ms);
    }
}

void authority_acked(struct authority *a, uint64_t revision, uint64_t now_ms)
{
    for (size_t i = 0; i < a->fading_count; i++) {
        struct fading_port *f = &a->fading[i];

        if (f->revision <= revision)
            f->until_ms = MIN(f->until_ms, now_ms + AUTHORITY_AFTER_ACK_MS);
    }
}

bool authority_is_in_force(const struct authority *a, uint16_t port)
{
    return has(a->bits, port);
}

bool authority_has_faded(const struct authority *a, uint64_t since_ms, uint64_t now_ms)
{
    for (size_t i = 0; i < a->fading_count; i++)
        if (a->fading[i].until_ms > since_ms && a->fading[i].until_ms <= now_ms)
            return true;
    return false;
}

bool authority_allows(const struct authority *a, uint16_t port, uint64_t now_ms)
{
    if (has(a->bits, port))
        return true;
    for (size_t i = 0; i < a->fading_count; i++)
        if (a->fading[i].port == port && a->fading[i].until_ms > now_ms)
            return true;
    return false;
}
