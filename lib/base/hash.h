/* hash - for tables whose keys others choose: with a random seed of the process, nobody can aim at
 * one bucket.  (The finalizer of SplitMix64.) */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdint.h>

static inline uint64_t hash_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* `hash` with one more word in it; begin with the seed. */
static inline uint64_t hash_add(uint64_t hash, uint64_t word)
{
    return hash_mix(hash ^ word);
}

#endif
