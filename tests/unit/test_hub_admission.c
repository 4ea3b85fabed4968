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
    struct admission_source first, second;
    struct admission ad;

    admission_init(&ad, 10, 1, 7);
    ck_assert_int_eq(admission_enter(&ad, &a, &first), ADMISSION_OK);
    ck_assert_int_eq(admission_enter(&ad, &b, &second),
                     rows[_i].is_same ? ADMISSION_SOURCE_FULL : ADMISSION_OK);
    ck_assert_uint_eq(ad.count, rows[_i].is_same ? 1 : 2);
    admission_fini(&ad);
}
END_TEST

START_TEST(newest_is_refused)
{
    struct admission_source sources[4];
    struct admission ad;
    union addr a = at("192.0.2.1"), b = at("192.0.2.2"), c = at("192.0.2.3");

    admission_init(&ad, 3, 2, 0);
    ck_assert_int_eq(admission_enter(&ad, &a, &sources[0]), ADMISSION_OK);
    ck_assert_int_eq(admission_enter(&ad, &a, &sources[1]), ADMISSION_OK);
    ck_assert_int_eq(admission_enter(&ad, &a, &sources[3]), ADMISSION_SOURCE_FULL);
    ck_assert_int_eq(admission_enter(&ad, &b, &sources[2]), ADMISSION_OK);
    ck_assert_int_eq(admission_enter(&ad, &c, &sources[3]), ADMISSION_FULL);
    admission_leave(&ad, &sources[0]);
    ck_assert_int_eq(admission_enter(&ad, &c, &sources[3]), ADMISSION_OK);
    ck_assert_int_eq(admission_enter(&ad, &a, &sources[0]), ADMISSION_FULL);
    admission_leave(&ad, &sources[1]);
    admission_leave(&ad, &sources[2]);
    admission_leave(&ad, &sources[3]);
    ck_assert_uint_eq(ad.count, 0);
    admission_fini(&ad);
}
END_TEST

/* What is not in the table any more takes no memory: every source can come and go. */
START_TEST(many_sources)
{
    struct admission_source sources[256];
    struct admission ad;

    admission_init(&ad, 256, 32, 0x1234567);
    for (uint32_t round = 0; round < 50; round++) {
        for (uint32_t i = 0; i < 256; i++) {
            union addr a = at("10.0.0.0");

            a.in.sin_addr.s_addr = htonl(0x0a000000u + round * 1000 + i);
            ck_assert_int_eq(admission_enter(&ad, &a, &sources[i]), ADMISSION_OK);
        }
        ck_assert_uint_eq(ad.count, 256);
        for (uint32_t i = 0; i < 256; i++)
            admission_leave(&ad, &sources[i]);
    }
    for (size_t i = 0; i < ad.bucket_count; i++)
        ck_assert_ptr_null(ad.buckets[i]);
    admission_fini(&ad);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("admission");

    tcase_add_loop_test(tcase, what_a_source_is, 0, 6);
    tcase_add_test(tcase, newest_is_refused);
    tcase_add_test(tcase, many_sources);
    return suite_run("hub_admission", tcase);
}
