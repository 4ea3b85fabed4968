/* Admission: how many connections may be before their hello, in all and of one source. */
#include "hub/admission.h"
#include "hub_fixture.h"

static union addr at(const char *text)
{
    union addr a;

    ck_assert_int_eq(addr_parse_host(&a, text, 40000), 0);
    return a;
}

START_TEST(what_a_source_is)
{
    static const struct {
        const char *a, *b;
        bool is_same;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1", "::ffff:192.0.2.1", true},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true}, /* one /64 */
        {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
        {"0.0.0.0", "::", false}, /* the families are apart */
    };
    union addr a = at(rows[_i].a), b = at(rows[_i].b);
    struct admission_entry first = {0}, second = {0}, *displaced;
    struct admission ad;

    admission_init(&ad, 10, 1, 7);
    ck_assert_int_eq(admission_enter(&ad, &first, &a, 0, &displaced), ADMISSION_OK);
    ck_assert_int_eq(admission_enter(&ad, &second, &b, 0, &displaced),
                     rows[_i].is_same ? ADMISSION_SOURCE_FULL : ADMISSION_OK);
    ck_assert_ptr_null(displaced);
    ck_assert_uint_eq(ad.count, rows[_i].is_same ? 1 : 2);
    admission_fini(&ad);
}
END_TEST

#define ENTRIES 8

static struct admission ad;
static struct admission_entry entries[ENTRIES], *displaced;

static void up(unsigned cap, unsigned cap_per_source)
{
    memset(entries, 0, sizeof(entries));
    admission_init(&ad, cap, cap_per_source, 0);
}

static enum admission_verdict enter(unsigned n, const char *from, uint64_t now_ms)
{
    union addr a;

    if (from)
        a = at(from);
    return admission_enter(&ad, &entries[n], from ? &a : NULL, now_ms, &displaced);
}

/* `n` comes in, and nobody goes. */
static void must_enter(unsigned n, const char *from, uint64_t now_ms)
{
    ck_assert_int_eq(enter(n, from, now_ms), ADMISSION_OK);
    ck_assert_ptr_null(displaced);
}

/* `n` comes in, and `old` goes. */
static void must_displace(unsigned n, const char *from, uint64_t now_ms, unsigned old)
{
    unsigned count = ad.count;

    ck_assert_int_eq(enter(n, from, now_ms), ADMISSION_OK);
    ck_assert_ptr_eq(displaced, &entries[old]);
    ck_assert_ptr_null(entries[old].slot);
    ck_assert_uint_eq(ad.count, count);
}

static void down(void)
{
    for (unsigned i = 0; i < ENTRIES; i++)
        admission_leave(&ad, &entries[i]);
    ck_assert_uint_eq(ad.count, 0);
    ck_assert_uint_eq(ad.most, 0);
    for (size_t i = 0; i < ad.bucket_count; i++)
        ck_assert_ptr_null(ad.buckets[i]);
    admission_fini(&ad);
}

START_TEST(newest_is_refused)
{
    up(3, 2);
    must_enter(0, "192.0.2.1", 0);
    must_enter(1, "192.0.2.1", 0);
    ck_assert_int_eq(enter(3, "192.0.2.1", 0), ADMISSION_SOURCE_FULL);
    must_enter(2, "192.0.2.2", 0);
    admission_leave(&ad, &entries[0]);
    must_enter(3, "192.0.2.3", 0);
    ck_assert_int_eq(enter(0, "192.0.2.4", ADMISSION_GRACE_MS - 1), ADMISSION_FULL);
    ck_assert_ptr_null(entries[0].slot);
    ck_assert_uint_eq(ad.count, 3);
    down();
}
END_TEST

/* Whoever holds a source's quota without a word does not keep others behind the same address out.
 */
START_TEST(oldest_of_a_full_source_gives_way)
{
    up(8, 2);
    must_enter(0, "192.0.2.1", 0);
    must_enter(1, "192.0.2.1", 5);
    ck_assert_int_eq(enter(2, "192.0.2.1", ADMISSION_GRACE_MS - 1), ADMISSION_SOURCE_FULL);
    must_displace(2, "192.0.2.1", ADMISSION_GRACE_MS, 0);
    must_displace(3, "192.0.2.1", ADMISSION_GRACE_MS + 5, 1);
    ck_assert_int_eq(enter(0, "192.0.2.1", ADMISSION_GRACE_MS + 5), ADMISSION_SOURCE_FULL);
    down();
}
END_TEST

/* A few addresses take all there is: one of them gives way, however young, to who has less. */
START_TEST(fullest_source_gives_way)
{
    up(6, 4);
    must_enter(0, "192.0.2.1", 0);
    must_enter(1, "192.0.2.2", 0);
    must_enter(2, "192.0.2.2", 1);
    must_enter(3, "192.0.2.2", 2);
    must_enter(4, "192.0.2.1", 3);
    must_enter(5, "192.0.2.1", 4);
    must_displace(6, "192.0.2.3", 10, 1); /* both have three: which of them had longer */
    must_displace(7, "192.0.2.4", 10, 0);
    must_displace(1, "192.0.2.5", 10, 2);
    ck_assert_int_eq(enter(0, "192.0.2.4", 10), ADMISSION_FULL); /* it would have as many itself */
    down();
}
END_TEST

/* All have one: the oldest goes, but it gets its second. */
START_TEST(oldest_of_all_gives_way)
{
    up(2, 2);
    must_enter(0, "192.0.2.1", 0);
    must_enter(1, "192.0.2.2", 1);
    ck_assert_int_eq(enter(2, "192.0.2.3", ADMISSION_GRACE_MS - 1), ADMISSION_FULL);
    must_displace(2, "192.0.2.3", ADMISSION_GRACE_MS, 0);
    must_displace(3, "192.0.2.4", ADMISSION_GRACE_MS + 1, 1);
    down();
}
END_TEST

/* What forged addresses take is no source's, and the first to give way once it is the most. */
START_TEST(unvalidated_count_in_all)
{
    up(5, 2);
    for (unsigned i = 0; i < 4; i++)
        must_enter(i, NULL, i);
    must_enter(4, "192.0.2.1", 4);
    must_displace(5, "192.0.2.1", 5, 0);
    ck_assert_int_eq(enter(0, "192.0.2.1", 5), ADMISSION_SOURCE_FULL);
    ck_assert_int_eq(enter(0, NULL, 5), ADMISSION_FULL);
    must_displace(0, NULL, 1 + ADMISSION_GRACE_MS, 1);
    down();
}
END_TEST

/* What is not in the table any more takes no memory: every source can come and go. */
START_TEST(many_sources)
{
    static struct admission_entry many[256];

    up(256, 32);
    memset(many, 0, sizeof(many));
    for (uint32_t round = 0; round < 50; round++) {
        for (uint32_t i = 0; i < 256; i++) {
            union addr a = at("10.0.0.0");

            a.in.sin_addr.s_addr = htonl(0x0a000000u + round * 1000 + i);
            ck_assert_int_eq(admission_enter(&ad, &many[i], &a, 0, &displaced), ADMISSION_OK);
        }
        ck_assert_uint_eq(ad.count, 256);
        for (uint32_t i = 0; i < 256; i++)
            admission_leave(&ad, &many[i]);
    }
    down();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("admission");

    tcase_add_loop_test(tcase, what_a_source_is, 0, 6);
    tcase_add_test(tcase, newest_is_refused);
    tcase_add_test(tcase, oldest_of_a_full_source_gives_way);
    tcase_add_test(tcase, fullest_source_gives_way);
    tcase_add_test(tcase, oldest_of_all_gives_way);
    tcase_add_test(tcase, unvalidated_count_in_all);
    tcase_add_test(tcase, many_sources);
    return suite_run("hub_admission", tcase);
}
