/* One file a connection, each record a line of JSON; a folder that is not there costs nothing else.
 */
#include <check.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/quic_pair.h"

static bool is_there(struct quic_pair *p)
{
    return p->server.streams[0].is_fin;
}

static void check_file(const char *path)
{
    char line[4096];
    unsigned records = 0;
    FILE *file = fopen(path, "r");

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file)) {
        ck_assert_int_eq(line[0], 0x1e); /* RFC 7464 */
        ck_assert_int_eq(line[1], '{');
        ck_assert_ptr_nonnull(strstr(line, "}\n"));
        records++;
    }
    fclose(file);
    ck_assert_uint_gt(records, 10);
    unlink(path);
}

START_TEST(written)
{
    char dir[] = "/tmp/penstock-qlog-XXXXXX", path[600];
    unsigned clients = 0, servers = 0;
    struct dirent *entry;
    struct quic_pair p;
    DIR *folder;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    quic_pair_begin(&p);
    p.params.qlog_dir = dir;
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, quic_pair_is_secure);
    quic_pair_send(&p.client, 1000, true);
    quic_pair_until(&p, is_there);
    quic_pair_close(&p);
    folder = opendir(dir);
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] == '.')
            continue;
        clients += strstr(entry->d_name, "-client.sqlog") != NULL;
        servers += strstr(entry->d_name, "-server.sqlog") != NULL;
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        check_file(path);
    }
    closedir(folder);
    rmdir(dir);
    ck_assert_uint_eq(clients, 1);
    ck_assert_uint_eq(servers, 1);
}
END_TEST

START_TEST(no_folder)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    p.params.qlog_dir = "/no/such/folder";
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, quic_pair_is_secure);
    ck_assert_ptr_null(p.client.q->qlog);
    quic_pair_close(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_qlog");
    TCase *all = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(all, written);
    tcase_add_test(all, no_folder);
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
