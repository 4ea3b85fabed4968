/* Secrets that are known, and the shapes of those that are not. */
#include <fcntl.h>
#include <sys/stat.h>

#include "doctor/scrub.h"
#include "doctor_fixture.h"

static struct scrub s;

static void clean(const char *text, const char *expected)
{
    char *copy = must_strdup(text);

    scrub_text(&s, copy, strlen(copy));
    ck_assert_str_eq(copy, expected);
    free(copy);
}

START_TEST(known_values)
{
    scrub_init(&s);
    scrub_add(&s, "first-secret\nsecond-secret\nshort");
    scrub_add(&s, NULL);
    ck_assert_uint_eq(s.count, 2);
    clean("a first-secret,first-secretsecond-secret short",
          "a ************,************************* short");
    clean("", "");
    scrub_fini(&s);
}
END_TEST

START_TEST(shapes)
{
    scrub_init(&s);
    clean("Authorization: Bearer abc.def-1\r\nX: 1", "Authorization: Bearer *********\r\nX: 1");
    clean("{\"a\":\"Basic dTpw\"}", "{\"a\":\"Basic ****\"}");
    clean("-----BEGIN EC PRIVATE KEY-----\nMHcC\nAQ==\n-----END EC PRIVATE KEY-----\nafter\n"
          "-----BEGIN PRIVATE KEY-----\nxx\n-----END PRIVATE KEY-----\nlast",
          "-----BEGIN EC PRIVATE KEY-----\n****\n****\n-----END EC PRIVATE KEY-----\nafter\n"
          "-----BEGIN PRIVATE KEY-----\n**\n-----END PRIVATE KEY-----\nlast");
    clean("PRIVATE KEY-----cut", "PRIVATE KEY-----***");
    clean("-----BEGIN PRIVATE KEY-----\nxx\n-----END", "-----BEGIN PRIVATE KEY-----\n**\n-----END");
    clean("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
          "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----");
    clean("Bearer ", "Bearer ");
    clean("token=eyJhIjoxfQ done", "token=eyJ******* done");
    scrub_fini(&s);
}
END_TEST

static void write_file(const char *name, const char *text)
{
    char *path = must_printf("%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);

    ck_assert_int_eq((int)write(fd, text, strlen(text)), (int)strlen(text));
    close(fd);
    free(path);
}

START_TEST(files_of_a_folder)
{
    char *edges = must_printf("%s/edges", folder), *other = must_printf("%s/other", folder);

    mkdir(edges, 0700);
    mkdir(other, 0700);
    write_file("management-token", "tokentokentokentokentoken\n");
    write_file("tunnel.json", "{\"secret\":\"ssssssssssssssssssssss\"}");
    write_file("edges/e1.secret", "e1e1e1e1e1e1e1e1e1e1e1e1");
    write_file("other/x", "xxxxxxxxxxxxxxxxxxxxxxxxx");
    scrub_init(&s);
    scrub_add_folder(&s, folder);
    scrub_add_folder(&s, "/nowhere");
    ck_assert_uint_eq(s.count, 3);
    clean("tokentokentokentokentoken ssssssssssssssssssssss e1e1e1e1e1e1e1e1e1e1e1e1",
          "************************* ********************** ************************");
    clean("xxxxxxxxxxxxxxxxxxxxxxxxx", "xxxxxxxxxxxxxxxxxxxxxxxxx");
    scrub_fini(&s);
    free(edges);
    free(other);
}
END_TEST

START_TEST(more_than_it_keeps)
{
    scrub_init(&s);
    for (unsigned i = 0; i <= SCRUB_MAX; i++) {
        char *text = must_printf("secret-%08u", i);

        ck_assert(!s.is_full);
        scrub_add(&s, text);
        free(text);
    }
    ck_assert(s.is_full);
    scrub_fini(&s);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {known_values, shapes, files_of_a_folder, more_than_it_keeps};

    return run_suite("doctor_scrub", tests, ARRAY_LEN(tests));
}
