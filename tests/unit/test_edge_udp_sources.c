/* test_edge_udp_sources - edge/udp_sources.h: who has how many flows, and who pays. */
#include "edge/udp_sources.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/seeded.h"
#include "support/suite.h"
#include "wire/proxy.h"

#define ADDRESSES 100
#define FLOWS_MAX 4000
#define STRANGER  65535u /* an address that has none */

struct flow {
    struct list node;
    struct udp_source *source;
    unsigned address;
};

static struct udp_sources sources;

static void setup(void)
{
    udp_sources_init(&sources, 7);
}

static struct proxy_header v4(unsigned address)
{
    return (struct proxy_header){
        .family = PROXY_INET,
        .transport = PROXY_DGRAM,
        .src = {192, 0, (uint8_t)(address >> 8), (uint8_t)address},
    };
}

static void add(struct flow *f, struct proxy_header client)
{
    f->source = udp_sources_add(&sources, &client, &f->node);
    ck_assert_ptr_nonnull(f->source);
}

static void add_many(struct flow *f, unsigned count, unsigned address)
{
    for (unsigned i = 0; i < count; i++)
        add(&f[i], v4(address));
}

static void drop(struct flow *f)
{
    udp_sources_remove(&sources, f->source, &f->node);
}

static void drop_many(struct flow *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        drop(&f[i]);
}

/* The parent never has less than its children, and every count is that of a plain one. */
static bool is_sound(const unsigned *counts, struct flow *const *flows, unsigned n)
{
    unsigned present = 0, all = 0;
    bool is_right = sources.flows == n;

    for (unsigned i = 0; i < ADDRESSES; i++)
        present += counts[i] > 0;
    for (size_t i = 0; i < sources.count; i++) {
        const struct udp_source *s = sources.heap[i];

        is_right = is_right && s->at == i && s->count <= sources.heap[i ? (i - 1) / 2 : 0]->count;
        all += s->count;
    }
    for (unsigned i = 0; i < n; i++)
        is_right = is_right && flows[i]->source->count == counts[flows[i]->address];
    return is_right && sources.count == present && all == n;
}

START_TEST(counts_are_right_whatever_comes_and_goes)
{
    static struct flow *flows[FLOWS_MAX];
    static unsigned counts[ADDRESSES];
    unsigned n = 0;
    uint64_t seed = 20260101;

    for (unsigned step = 0; step < 40000; step++) {
        bool grows = step / 8000 % 2 == 0;

        if (n == 0 || (n < FLOWS_MAX && seeded_chance(&seed, grows ? 70 : 30))) {
            struct flow *f = calloc(1, sizeof(*f));

            /* the low ones come more often */
            f->address = (unsigned)seeded_below(&seed, 1 + seeded_below(&seed, ADDRESSES));
            add(f, v4(f->address));
            counts[f->address]++;
            flows[n++] = f;
        } else {
            unsigned at = (unsigned)seeded_below(&seed, n);

            counts[flows[at]->address]--;
            drop(flows[at]);
            free(flows[at]);
            flows[at] = flows[--n];
        }
        if (step % 64 == 0)
            ck_assert(is_sound(counts, flows, n));
    }
    while (n > 0) {
        drop(flows[--n]);
        free(flows[n]);
    }
    ck_assert_uint_eq(sources.count, 0);
    udp_sources_fini(&sources);
}
END_TEST

START_TEST(an_ipv6_client_counts_by_its_64)
{
    struct proxy_header a = {.family = PROXY_INET6, .src = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 1}};
    struct proxy_header b = a, c = a;
    struct proxy_header d = {.family = PROXY_INET, .src = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 1}};
    struct flow flows[4];

    b.src[15] = 9; /* the same network */
    c.src[7] = 2;  /* another one */
    add(&flows[0], a);
    add(&flows[1], b);
    add(&flows[2], c);
    add(&flows[3], d);
    ck_assert_ptr_eq(flows[0].source, flows[1].source);
    ck_assert_ptr_ne(flows[0].source, flows[2].source);
    ck_assert_ptr_ne(flows[0].source, flows[3].source);
    ck_assert_ptr_ne(flows[2].source, flows[3].source);
    drop_many(flows, 4);
    udp_sources_fini(&sources);
}
END_TEST

START_TEST(the_least_recently_used_is_first)
{
    struct flow flows[3];

    add_many(flows, 3, 1);
    udp_source_touch(flows[0].source, &flows[0].node);
    ck_assert_ptr_eq(flows[0].source->flows.next, &flows[1].node);
    ck_assert_ptr_eq(flows[0].source->flows.prev, &flows[0].node);
    drop_many(flows, 3);
    udp_sources_fini(&sources);
}
END_TEST

/* For one more of an address. */
static const struct udp_source *payer(unsigned address)
{
    struct proxy_header client = v4(address);

    return udp_sources_payer(&sources, &client);
}

START_TEST(who_has_more_than_its_share_pays)
{
    static struct flow a[10], b[3], c[2];

    ck_assert_ptr_null(payer(1)); /* nobody has any */
    add_many(a, 10, 1);
    ck_assert_ptr_null(payer(1)); /* alone it may have all */
    ck_assert_ptr_eq(payer(9), a[0].source);
    add_many(b, 3, 2);
    add_many(c, 2, 3); /* with one more 16 flows, 5 for each */
    ck_assert_ptr_eq(payer(1), a[0].source);
    ck_assert_ptr_eq(payer(2), a[0].source);
    ck_assert_ptr_eq(payer(3), a[0].source);
    drop_many(a + 4, 6); /* 10 flows, 3 for each: who asks pays before who has as many */
    ck_assert_ptr_eq(payer(2), b[0].source);
    ck_assert_ptr_eq(payer(3), a[0].source);
    drop(&a[3]); /* 9 flows, 3 for each */
    ck_assert_ptr_eq(payer(2), b[0].source);
    ck_assert_ptr_null(payer(3));            /* then all have the same */
    ck_assert_ptr_eq(payer(4), a[0].source); /* 9 flows, 2 for each of four */
    drop_many(a, 3);
    drop_many(b, 3);
    drop_many(c, 2);
    udp_sources_fini(&sources);
}
END_TEST

/* A flood from ever new addresses: of 6400 flows one address may have 100, however many they are.
 */
START_TEST(a_share_is_never_less_than_a_part_of_all)
{
    static struct flow one[101], others[6400 - 101];

    add_many(one, 100, 0);
    for (unsigned i = 0; i < ARRAY_LEN(others); i++)
        add(&others[i], v4(1 + i));
    ck_assert_ptr_null(payer(STRANGER));
    ck_assert_ptr_eq(payer(0), one[0].source);
    add(&one[100], v4(0));
    ck_assert_ptr_eq(payer(STRANGER), one[0].source);
    drop_many(one, 101);
    drop_many(others, ARRAY_LEN(others));
    udp_sources_fini(&sources);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, counts_are_right_whatever_comes_and_goes);
    tcase_add_test(tc, an_ipv6_client_counts_by_its_64);
    tcase_add_test(tc, the_least_recently_used_is_first);
    tcase_add_test(tc, who_has_more_than_its_share_pays);
    tcase_add_test(tc, a_share_is_never_less_than_a_part_of_all);
    return suite_run("edge_udp_sources", tc);
}
