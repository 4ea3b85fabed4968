/* id_table - see id_table.h. */
#include "tunnel/id_table.h"

#include <stdlib.h>

#include "base/err.h"

/* The peer picks the ids (any that rise), and must not be able to pick ones that fall on one slot:
 * so they are mixed (MurmurHash3's finalizer) with what it can't know, the place of the slots in
 * memory. */
static uint32_t slot_of(const struct id_table *t, uint32_t id)
{
    uint32_t x = id + (uint32_t)((uintptr_t)t->slots >> 4);

    x = (x ^ x >> 16) * 0x85ebca6bu;
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    return (x ^ x >> 16) & (t->size - 1);
}

void id_table_fini(struct id_table *t)
{
    free(t->slots);
    *t = (struct id_table){0};
}

static void put(struct id_table *t, uint32_t *id)
{
    uint32_t i = slot_of(t, *id);

    while (t->slots[i]) {
        must(*t->slots[i] != *id);
        i = (i + 1) & (t->size - 1);
    }
    t->slots[i] = id;
}

static int grow(struct id_table *t)
{
    struct id_table bigger = {.size = t->size ? t->size * 2 : 64, .count = t->count};

    bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
    if (!bigger.slots)
        return -ERR_NOMEM;
    for (uint32_t i = 0; i < t->size; i++)
        if (t->slots[i])
            put(&bigger, t->slots[i]);
    free(t->slots);
    *t = bigger;
    return 0;
}

int id_table_add(struct id_table *t, uint32_t *id)
{
    if ((t->count + 1) * 2 > t->size && grow(t) != 0)
        return -ERR_NOMEM;
    put(t, id);
    t->count++;
    return 0;
}

uint32_t *id_table_find(const struct id_table *t, uint32_t id)
{
    if (t->size == 0)
        return NULL;
    for (uint32_t i = slot_of(t, id); t->slots[i]; i = (i + 1) & (t->size - 1))
        if (*t->slots[i] == id)
            return t->slots[i];
    return NULL;
}

void id_table_remove(struct id_table *t, uint32_t *id)
{
    uint32_t mask = t->size - 1;
    uint32_t hole = slot_of(t, *id);

    must(t->size > 0);
    while (t->slots[hole] != id) {
        must(t->slots[hole] != NULL);
        hole = (hole + 1) & mask;
    }
    /* Whatever stands behind the hole and would be looked for across it moves into it. */
    for (uint32_t i = (hole + 1) & mask; t->slots[i]; i = (i + 1) & mask) {
        uint32_t home = slot_of(t, *t->slots[i]);

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole] = NULL;
    t->count--;
}
