/* seeded - numbers that look random and are the same in every run: SplitMix64.  What failed with a
 * seed fails with it again. */
#ifndef SUPPORT_SEEDED_H
#define SUPPORT_SEEDED_H

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t seeded_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline uint64_t seeded_next(uint64_t *seed)
{
    return seeded_mix(*seed += 0x9e3779b97f4a7c15u);
}

/* From 0 to n - 1; n > 0. */
static inline uint64_t seeded_below(uint64_t *seed, uint64_t n)
{
    return seeded_next(seed) % n;
}

static inline bool seeded_chance(uint64_t *seed, unsigned percent)
{
    return seeded_below(seed, 100) < percent;
}

/* The byte at `offset` of the content that `key` stands for. */
static inline uint8_t seeded_byte(uint64_t key, uint64_t offset)
{
    return (uint8_t)(seeded_mix(key ^ (offset >> 3) * 0x9e3779b97f4a7c15u) >> (offset & 7) * 8);
}

#endif
