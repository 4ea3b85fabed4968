/* An archive that tar itself can list; block by block, and on a disk that is full. */
#include "base/err.h"
#include "doctor/tar.h"
#include "doctor_fixture.h"

START_TEST(blocks)
{
    char *bytes = NULL, big[513];
    size_t n = 0;
    FILE *out = open_memstream(&bytes, &n);
    struct tar t;

    memset(big, 'x', sizeof(big));
    tar_init(&t, out, 1000000000);
    tar_add(&t, "a/empty", "", 0);
    tar_add(&t, "a/big", big, sizeof(big));
    ck_assert_int_eq(tar_end(&t), 0);
    fclose(out);
    ck_assert_uint_eq(n, 512 + 512 + 1024 + 1024);
    ck_assert_str_eq(bytes, "a/empty");
    ck_assert_str_eq(bytes + 257, "ustar");
    ck_assert_str_eq(bytes + 512 + 124, "00000001001"); /* 513 */
    ck_assert_str_eq(bytes + 512 + 136, "07346545000"); /* the time */
    free(bytes);
}
END_TEST

START_TEST(tar_reads_it)
{
    char *path = must_printf("%s/x.tar", folder), *command, line[200];
    FILE *out = fopen(path, "w"), *list;
    struct tar t;

    tar_init(&t, out, 1000000000);
    tar_add(&t, "dir/one.txt", "hello\n", 6);
    ck_assert_int_eq(tar_end(&t), 0);
    fclose(out);
    command = must_printf("TZ=UTC tar -tvf %s", path);
    list = popen(command, "r");
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), list));
    ck_assert_int_eq(pclose(list), 0);
    ck_assert_ptr_nonnull(strstr(line, "-rw-------"));
    ck_assert_ptr_nonnull(strstr(line, " 6 2001-09-09 01:46 dir/one.txt\n"));
    free(command);
    free(path);
}
END_TEST

START_TEST(a_full_disk)
{
    FILE *out = fopen("/dev/full", "w");
    struct tar t;

    tar_init(&t, out, 0);
    tar_add(&t, "x", "y", 1);
    ck_assert_int_eq(tar_end(&t), -ERR_IO);
    fclose(out);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {blocks, tar_reads_it, a_full_disk};

    return run_suite("doctor_tar", tests, ARRAY_LEN(tests));
}
