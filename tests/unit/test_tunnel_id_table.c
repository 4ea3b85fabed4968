/* Tests of tunnel/id_table, by way of streams: against a naive map, step by step. */
#include <check.h>
#include <stdlib.h>

#include "base/err.h"
#include "support/seeded.h"
#include "support/suite.h"
#include "tunnel/stream_table.h"

#define MODEL_MAX 600

/* Ids as a lane gives them (rising, a few left out), as an attacker may, and anything. */
static uint32_t pick_id(unsigned kind, uint32_t serial, uint64_t *seed)
{
    switch (kind) {
    case 0:
        return serial + 1;
    case 1:
        return (serial % 4096 + 1) << 20;
    case 2:
        return UINT32_MAX - serial;
    default:
        return (uint32_t)seeded_next(seed);
    }
}

static struct stream *model_find(struct stream **model, unsigned n, uint32_t id)
{
    for (unsigned i = 0; i < n; i++)
        if (model[i]->id == id)
            return model[i];
    return NULL;
}

START_TEST(it_does_what_a_naive_map_does)
{
    for (unsigned kind = 0; kind < 4; kind++) {
        struct stream *model[MODEL_MAX];
        struct id_table t = {0};
        uint64_t seed = kind + 99;
        unsigned n = 0;

        for (uint32_t step = 0; step < 20000; step++) {
            unsigned full = step % 4000 < 2000 ? MODEL_MAX : 20; /* grows, then falls */
            uint32_t id = pick_id(kind, step, &seed);

            if (n < full && !model_find(model, n, id)) {
                struct stream *s = calloc(1, sizeof(*s));

                ck_assert_ptr_nonnull(s);
                s->id = id;
                ck_assert_int_eq(stream_table_add(&t, s), 0);
                model[n++] = s;
            }
            for (unsigned k = 0; k < 2 && n > 0 && seeded_chance(&seed, n > full ? 100 : 40); k++) {
                unsigned i = (unsigned)seeded_below(&seed, n);

                stream_table_remove(&t, model[i]);
                ck_assert_ptr_null(stream_table_find(&t, model[i]->id));
                free(model[i]);
                model[i] = model[--n];
            }
            ck_assert_uint_eq(t.count, n);
            ck_assert_uint_le(2 * t.count, MAX(t.size, 1));
            if (n > 0) {
                struct stream *some = model[seeded_below(&seed, n)];

                ck_assert_ptr_eq(stream_table_find(&t, some->id), some);
            }
            ck_assert_ptr_eq(stream_table_find(&t, id + 1), model_find(model, n, id + 1));
            if (step % 500 == 0)
                for (unsigned i = 0; i < n; i++)
                    ck_assert_ptr_eq(stream_table_find(&t, model[i]->id), model[i]);
        }
        while (n > 0) {
            stream_table_remove(&t, model[--n]);
            free(model[n]);
        }
        ck_assert_uint_eq(t.count, 0);
        id_table_fini(&t);
    }
}
END_TEST

START_TEST(an_empty_table_finds_nothing_and_holds_nothing)
{
    struct id_table t = {0};

    ck_assert_ptr_null(stream_table_find(&t, 1));
    ck_assert_ptr_null(stream_table_find(&t, 0));
    id_table_fini(&t);
    id_table_fini(&t);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, it_does_what_a_naive_map_does);
    tcase_add_test(tc, an_empty_table_finds_nothing_and_holds_nothing);
    return suite_run("id_table", tc);
}
