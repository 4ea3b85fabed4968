/* Tests of tunnel/authority: which ports are good, and until when. */
#include <check.h>
#include <stdlib.h>

#include "base/must.h"
#include "support/seeded.h"
#include "support/suite.h"
#include "tunnel/authority.h"

static void config(struct authority *a, uint64_t revision, uint64_t now_ms, size_t n,
                   const uint16_t *ports)
{
    authority_config(a, revision, ports, n, now_ms);
}

#define CONFIG(a, revision, now_ms, ...)                                                           \
    config((a), (revision), (now_ms), sizeof((uint16_t[]){__VA_ARGS__}) / 2,                       \
           (uint16_t[]){__VA_ARGS__})

START_TEST(only_configured_ports_are_good)
{
    struct authority a;

    authority_init(&a);
    for (unsigned port = 0; port < 65536; port++)
        ck_assert(!authority_allows(&a, (uint16_t)port, 0));
    CONFIG(&a, 1, 1000, 1, 80, 443, 65535);
    for (unsigned port = 0; port < 65536; port++)
        ck_assert_int_eq(authority_allows(&a, (uint16_t)port, 1000),
                         port == 1 || port == 80 || port == 443 || port == 65535);
    ck_assert(authority_allows(&a, 443, UINT64_MAX)); /* as long as it is in force */
    authority_fini(&a);
    authority_fini(&a);
}
END_TEST

START_TEST(a_removed_port_is_good_for_30_s_at_most)
{
    struct authority a;

    authority_init(&a);
    CONFIG(&a, 1, 1000, 80, 443);
    CONFIG(&a, 2, 50000, 80);
    ck_assert(authority_allows(&a, 443, 50000));
    ck_assert(authority_allows(&a, 443, 79999));
    ck_assert(!authority_allows(&a, 443, 80000));
    ck_assert(authority_allows(&a, 80, 80000));
    ck_assert(!authority_has_faded(&a, 0, 79999));
    ck_assert(authority_has_faded(&a, 79999, 80000));
    ck_assert(!authority_has_faded(&a, 80000, 90000));
    authority_fini(&a);
}
END_TEST

START_TEST(a_removed_port_is_good_for_10_s_after_the_ack)
{
    struct authority a;

    authority_init(&a);
    CONFIG(&a, 1, 1000, 80, 443);
    CONFIG(&a, 2, 50000, 80);
    authority_acked(&a, 1, 51000); /* of the one before: says nothing about this */
    ck_assert(authority_allows(&a, 443, 79999));
    authority_acked(&a, 2, 52000);
    ck_assert(authority_allows(&a, 443, 61999));
    ck_assert(!authority_allows(&a, 443, 62000));
    authority_acked(&a, 2, 61000); /* said again: nothing is prolonged */
    ck_assert(!authority_allows(&a, 443, 62000));
    authority_fini(&a);

    authority_init(&a); /* a late ack does not prolong the 30 s */
    CONFIG(&a, 1, 1000, 443);
    authority_config(&a, 2, NULL, 0, 50000);
    authority_acked(&a, 2, 75000);
    ck_assert(authority_allows(&a, 443, 79999));
    ck_assert(!authority_allows(&a, 443, 80000));
    authority_fini(&a);
}
END_TEST

START_TEST(the_ack_of_a_newer_revision_counts_for_older_removals)
{
    struct authority a;

    authority_init(&a);
    CONFIG(&a, 1, 1000, 1, 2, 3);
    CONFIG(&a, 2, 2000, 1, 2);
    CONFIG(&a, 3, 3000, 1);
    authority_acked(&a, 3, 4000);
    ck_assert(authority_allows(&a, 3, 13999));
    ck_assert(authority_allows(&a, 2, 13999));
    ck_assert(!authority_allows(&a, 3, 14000));
    ck_assert(!authority_allows(&a, 2, 14000));
    authority_fini(&a);
}
END_TEST

START_TEST(a_port_that_comes_back_is_good_again_and_fades_anew)
{
    struct authority a;

    authority_init(&a);
    CONFIG(&a, 1, 1000, 80, 443);
    CONFIG(&a, 2, 2000, 80);
    authority_acked(&a, 2, 2000);
    CONFIG(&a, 3, 5000, 80, 443);
    ck_assert(authority_allows(&a, 443, 1000000)); /* the old removal is forgotten */
    CONFIG(&a, 4, 40000, 80);
    authority_acked(&a, 3, 41000); /* of when it was there */
    ck_assert(authority_allows(&a, 443, 69999));
    ck_assert(!authority_allows(&a, 443, 70000));
    ck_assert_uint_eq(a.revision, 4);
    authority_fini(&a);
}
END_TEST

/* Ports come and go without end: what fades stays bounded, the oldest goes first. */
START_TEST(what_fades_is_bounded)
{
    struct authority a;
    uint16_t ports[1024];

    authority_init(&a);
    for (unsigned i = 0; i < 200; i++) {
        for (unsigned k = 0; k < ARRAY_LEN(ports); k++)
            ports[k] = (uint16_t)(1 + (i * 1024 + k) % 60000);
        authority_config(&a, i + 1, ports, ARRAY_LEN(ports), 1000 + i);
        ck_assert_uint_le(a.fading_count, AUTHORITY_FADING_MAX);
        ck_assert(authority_allows(&a, ports[0], 1000 + i));
        if (i >= 1)
            ck_assert(authority_allows(&a, (uint16_t)(1 + ((i - 1) * 1024) % 60000), 1000 + i));
    }
    ck_assert(!authority_allows(&a, ports[0] == 1 ? 50000 : 1, 500000));
    authority_fini(&a);
}
END_TEST

/* Against a model that keeps for each port when it was last taken out. */
START_TEST(it_does_what_a_naive_model_does)
{
    enum { PORTS = 40 };
    struct model {
        bool is_in, was_in;
        uint64_t config_ms, acked_ms, revision;
    } model[PORTS] = {{0}};
    struct authority a;
    uint64_t seed = 5, now_ms = 1000, revision = 0;

    authority_init(&a);
    for (unsigned step = 0; step < 20000; step++) {
        now_ms += seeded_below(&seed, 3000);
        if (seeded_chance(&seed, 20)) {
            uint16_t ports[PORTS];
            size_t n = 0;

            revision++;
            for (unsigned k = 0; k < PORTS; k++) {
                bool is_in = seeded_chance(&seed, 50);

                if (is_in)
                    ports[n++] = (uint16_t)(k * 1600 + 63);
                if (model[k].is_in && !is_in)
                    model[k] =
                        (struct model){.was_in = true, .config_ms = now_ms, .revision = revision};
                model[k].is_in = is_in;
            }
            authority_config(&a, revision, ports, n, now_ms);
        } else if (seeded_chance(&seed, 20) && revision > 0) {
            uint64_t acked = revision - seeded_below(&seed, MIN(revision, 3u));

            authority_acked(&a, acked, now_ms);
            for (unsigned k = 0; k < PORTS; k++)
                if (model[k].was_in && model[k].revision <= acked && !model[k].acked_ms)
                    model[k].acked_ms = now_ms;
        }
        for (unsigned k = 0; k < PORTS; k++) {
            const struct model *m = &model[k];
            bool is_good = m->is_in || (m->was_in && now_ms < m->config_ms + 30000 &&
                                        (!m->acked_ms || now_ms < m->acked_ms + 10000));

            ck_assert_int_eq(authority_allows(&a, (uint16_t)(k * 1600 + 63), now_ms), is_good);
        }
    }
    authority_fini(&a);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, only_configured_ports_are_good);
    tcase_add_test(tc, a_removed_port_is_good_for_30_s_at_most);
    tcase_add_test(tc, a_removed_port_is_good_for_10_s_after_the_ack);
    tcase_add_test(tc, the_ack_of_a_newer_revision_counts_for_older_removals);
    tcase_add_test(tc, a_port_that_comes_back_is_good_again_and_fades_anew);
    tcase_add_test(tc, what_fades_is_bounded);
    tcase_add_test(tc, it_does_what_a_naive_model_does);
    return suite_run("authority", tc);
}
