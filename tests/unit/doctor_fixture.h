/* doctor_fixture - a report to look at, and a folder of the test's own. */
#ifndef TESTS_UNIT_DOCTOR_FIXTURE_H
#define TESTS_UNIT_DOCTOR_FIXTURE_H

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doctor/report.h"

static struct report r;
static char folder[64];

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void setup(void)
{
    report_init(&r, "test");
    snprintf(folder, sizeof(folder), "/tmp/penstock-doctor-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void)
{
    report_fini(&r);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The newest finding. */
static inline void expect(enum report_verdict verdict, const char *name, const char *words)
{
    const struct finding *f = &r.findings[r.count - 1];

    ck_assert_uint_gt(r.count, 0);
    ck_assert_str_eq(f->name, name);
    ck_assert_msg(f->verdict == verdict && strstr(f->seen, words), "%d: %s", (int)f->verdict,
                  f->seen);
    ck_assert_int_eq(f->mend == NULL, verdict == REPORT_OK);
}

/* The first finding of that name; NULL. */
static inline const struct finding *find(const struct report *of, const char *name)
{
    for (size_t i = 0; i < of->count; i++)
        if (strcmp(of->findings[i].name, name) == 0)
            return &of->findings[i];
    return NULL;
}

static inline size_t count_of(const struct report *of, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < of->count; i++)
        count += strcmp(of->findings[i].name, name) == 0;
    return count;
}

/* The only one of that name. */
static inline const struct finding *only(const struct report *of, const char *name)
{
    ck_assert_msg(count_of(of, name) == 1, "%zu findings are %s", count_of(of, name), name);
    return find(of, name);
}

static inline int run_suite(const char *name, const TTest *const *tests, size_t n)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < n; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}

#endif
