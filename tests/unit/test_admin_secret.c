/* Files of tokens and secrets: made when missing, whole, for the owner only. */
#include <sys/stat.h>
#include <sys/wait.h>

#include "admin/service.h"
#include "admin_fixture.h"
#include "support/suite.h"

static char folder[] = "/tmp/penstock-secret-XXXXXX";

static char *path_of(const char *name)
{
    return must_printf("%s/%s", folder, name);
}

static void set_up(void)
{
    memcpy(strrchr(folder, '-'), "-XXXXXX", 7);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    log_init(LOG_TEXT, LOG_ERR, 2);
}

static void tear_down(void)
{
    char *command = must_printf("rm -rf %s", folder);

    ck_assert_int_eq(system(command), 0);
    free(command);
}

static void write_file(const char *path, const char *text, size_t n)
{
    FILE *file = fopen(path, "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, n, file), n);
    fclose(file);
}

START_TEST(made_when_missing_and_kept)
{
    char *path = path_of("a/b/token"), *above = path_of("a/b"), *first, *second, why[256];
    struct stat st;

    ck_assert_int_eq(admin_token_look(path, &first, why, sizeof(why)), -ERR_NOT_FOUND);
    ck_assert_ptr_null(first);
    ck_assert_int_ne(stat(above, &st), 0); /* nothing was made */
    ck_assert_int_eq(admin_token_file(path, &first, why, sizeof(why)), 0);
    ck_assert_uint_eq(strlen(first), 43);
    ck_assert_uint_eq(strspn(first, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                    "0123456789-_"),
                      43);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(st.st_size, 44);
    ck_assert_int_eq(stat(above, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0700);
    ck_assert_int_eq(admin_token_file(path, &second, why, sizeof(why)), 0);
    ck_assert_str_eq(first, second);
    free(second);
    ck_assert_int_eq(admin_token_look(path, &second, why, sizeof(why)), 0);
    ck_assert_str_eq(first, second);
    free(first);
    free(second);
    free(above);
    free(path);
}
END_TEST

START_TEST(secrets_differ)
{
    char *one = admin_secret_make(), *two = admin_secret_make();

    ck_assert_uint_eq(strlen(one), 43);
    ck_assert_str_ne(one, two);
    /* 256 bits are 42 characters and 4 bits: the last one is one of sixteen */
    ck_assert_ptr_nonnull(strchr("AEIMQUYcgkosw048", one[42]));
    free(one);
    free(two);
}
END_TEST

START_TEST(what_a_file_may_hold)
{
#define A16 "0123456789abcdef"
#define A64 A16 A16 A16 A16
    static const struct {
        const char *text;
        const char *token;  /* NULL: refused */
        const char *secret; /* the same where one line is wanted */
        const char *why;
    } cases[] = {
        {A16, A16, A16, NULL},
        {A16 "\r\n\n", A16, A16, NULL},
        {"\n" A16 "\n\n" A64 "\n", A16 "\n" A64, NULL, "must hold one line"},
        {A16 "\n" A16 "x\n" A16 "y\n", NULL, NULL, "must hold one line"},
        {"0123456789abcde", NULL, NULL, "a line must have 16 to 256 characters"},
        {A64 A64 A64 A64, A64 A64 A64 A64, A64 A64 A64 A64, NULL},
        {A64 A64 A64 A64 "x", NULL, NULL, "a line must have 16 to 256 characters"},
        {A16 " " A16, NULL, NULL, "a line must not hold blanks or control characters"},
        {A16 "\t", NULL, NULL, "a line must not hold blanks or control characters"},
        {"", NULL, NULL, "is empty"},
        {"\n", NULL, NULL, "is empty"},
    };
    char *path = path_of("token"), *out, why[256];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        write_file(path, cases[i].text, strlen(cases[i].text));
        if (cases[i].token) {
            ck_assert_int_eq(admin_token_file(path, &out, why, sizeof(why)), 0);
            ck_assert_str_eq(out, cases[i].token);
            free(out);
        } else {
            ck_assert_int_eq(admin_token_file(path, &out, why, sizeof(why)), -ERR_IO);
            ck_assert_ptr_null(out);
            ck_assert_msg(strstr(why, cases[i].why) != NULL, "%s", why);
            ck_assert_int_eq(strncmp(why, path, strlen(path)), 0);
        }
        if (cases[i].secret) {
            ck_assert_int_eq(admin_secret_file(path, &out, why, sizeof(why)), 0);
            ck_assert_str_eq(out, cases[i].secret);
            free(out);
        } else {
            ck_assert_int_eq(admin_secret_file(path, &out, why, sizeof(why)), -ERR_IO);
            ck_assert_msg(strstr(why, cases[i].why) != NULL, "%s", why);
        }
    }
    write_file(path, A16 "\0" A16, 33);
    ck_assert_int_eq(admin_token_file(path, &out, why, sizeof(why)), -ERR_IO);
    ck_assert_ptr_nonnull(strstr(why, "holds a NUL byte"));
    free(path);
}
END_TEST

START_TEST(places_that_cannot_be)
{
    char *file = path_of("file"), *below = path_of("file/token"), *out, why[256];

    write_file(file, "x", 1);
    ck_assert_int_eq(admin_token_file(below, &out, why, sizeof(why)), -ERR_IO);
    ck_assert_ptr_nonnull(strstr(why, below));
    ck_assert_int_eq(admin_token_file(folder, &out, why, sizeof(why)), -ERR_IO);
    ck_assert_ptr_nonnull(strstr(why, "Is a directory"));
    free(below);
    free(file);
}
END_TEST

/* Processes that start at once end with the same secret, and leave nothing behind. */
START_TEST(made_by_several_at_once)
{
    enum { WRITERS = 8 };
    char *path = path_of("race"), *mine = NULL, why[256];
    int go[2], results[2];

    ck_assert_int_eq(pipe(go), 0);
    ck_assert_int_eq(pipe(results), 0);
    for (int i = 0; i < WRITERS; i++)
        if (fork() == 0) {
            char c, *secret = NULL;
            close(go[1]);
            (void)!read(go[0], &c, 1); /* until the parent closes: all at once */
            if (admin_secret_file(path, &secret, why, sizeof(why)) == 0)
                (void)!write(results[1], secret, 43);
            _exit(0);
        }
    close(go[1]);
    close(results[1]);
    for (int i = 0; i < WRITERS; i++)
        ck_assert_int_gt(wait(NULL), 0);
    ck_assert_int_eq(admin_secret_file(path, &mine, why, sizeof(why)), 0);
    for (int i = 0; i < WRITERS; i++) {
        char theirs[44] = "";
        ck_assert_int_eq(read(results[0], theirs, 43), 43);
        ck_assert_str_eq(theirs, mine);
    }
    char *command = must_printf("test \"$(ls -A %s)\" = race", folder);
    ck_assert_int_eq(system(command), 0);
    free(command);
    free(mine);
    free(path);
    close(go[0]);
    close(results[0]);
}
END_TEST

/* A reload loads into a struct of its own: what was in it must not be taken for tokens to free. */
START_TEST(a_service_whose_token_is_at_fault_can_drop_its_tokens)
{
    char *path = path_of("token"), why[256] = "";
    struct service_conf conf = {
        .management_token_file = path, .management_read_token_file = path, .state_dir = folder};
    struct service_tokens tokens;

    memset(&tokens, 0xa5, sizeof(tokens));
    write_file(path, "short\n", 6);
    ck_assert_int_eq(service_tokens_load(&tokens, &conf, why, sizeof(why)), -ERR_IO);
    ck_assert_ptr_nonnull(strstr(why, "16 to 256"));
    service_tokens_fini(&tokens);
    ck_assert_ptr_null(tokens.tokens);
    ck_assert_ptr_null(tokens.read_tokens);
    free(path);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        made_when_missing_and_kept, secrets_differ,
        what_a_file_may_hold,       places_that_cannot_be,
        made_by_several_at_once,    a_service_whose_token_is_at_fault_can_drop_its_tokens,
    };
    TCase *all = tcase_create("files");

    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(all, tests[i]);
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_set_timeout(all, 120);
    return suite_run("admin_secret", all);
}
