/* A small file, read whole: and nothing else, however it is called. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/regular_file.h"
#include "support/suite.h"

static char folder[64], path[96];

static void setup(void)
{
    snprintf(folder, sizeof(folder), "/tmp/penstock-file-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/file", folder);
}

static void teardown(void)
{
    ck_assert_int_eq(remove(path), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void write_text(const char *text)
{
    FILE *out = fopen(path, "we");

    ck_assert_ptr_nonnull(out);
    fputs(text, out);
    fclose(out);
}

static void refused(const char *name, int err, const char *expected)
{
    const char *why = NULL;
    char *text = path;
    size_t n = 7;

    ck_assert_int_eq(regular_file_read(name, 8, &text, &n, &why), err);
    ck_assert_str_eq(why, expected);
    ck_assert_ptr_null(text);
}

START_TEST(all_of_it)
{
    static const char *const texts[] = {"", "a", "12345678"};
    const char *why;
    char *text;
    size_t n;

    write_text(texts[_i]);
    ck_assert_int_eq(regular_file_read(path, 8, &text, &n, &why), 0);
    ck_assert_uint_eq(n, strlen(texts[_i]));
    ck_assert_str_eq(text, texts[_i]);
    free(text);
}
END_TEST

START_TEST(more_than_may_be)
{
    write_text("123456789");
    refused(path, -ERR_TOO_BIG, "is too large");
}
END_TEST

/* Nobody writes into the FIFO: to open it as a file is opened would wait for ever. */
START_TEST(what_is_no_file)
{
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    refused(path, -ERR_IO, "is no regular file");
    refused(folder, -ERR_IO, "is no regular file");
    refused("/dev/zero", -ERR_IO, "is no regular file");
}
END_TEST

START_TEST(what_is_not_there)
{
    write_text("");
    refused("/nowhere/file", -ERR_NOT_FOUND, "No such file or directory");
    strcat(path, "/x");
    refused(path, -ERR_NOT_FOUND, "Not a directory");
    path[strlen(path) - 2] = '\0';
}
END_TEST

int main(void)
{
    TCase *c = tcase_create("regular_file");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_loop_test(c, all_of_it, 0, 3);
    tcase_add_test(c, more_than_may_be);
    tcase_add_test(c, what_is_no_file);
    tcase_add_test(c, what_is_not_there);
    return suite_run("base_regular_file", c);
}
