/* The store: what is written is there again, secrets are sealed, what is not ours is refused.  (A
 * process that is killed: test_store_killed.c) */
#include <sched.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "store_fixture.h"

#define SECRET "a-secret-that-must-not-be-seen"

/* Beside whoever has it, after who had it, and never a file more than there was. */
START_TEST(a_look_changes_nothing)
{
    static const uint8_t other[STORE_KEY_BYTES] = "another key that opens nothing!";
    char *beside[] = {must_printf("%s-wal", path), must_printf("%s-shm", path)};
    struct store *s;

    ck_assert_int_ne(store_look(path, key, why, sizeof(why)), 0);
    ck_assert_int_ne(access(path, F_OK), 0);
    s = opened();
    write_one(s, "a", "{}", SECRET);
    ck_assert_int_eq(store_look(path, key, why, sizeof(why)), 0);
    ck_assert_int_eq(store_look(path, other, why, sizeof(why)), -ERR_AUTH);
    write_one(s, "b", "{}", SECRET);
    ck_assert_str_eq(content(s, "edge"), "a={}/" SECRET ";b={}/" SECRET ";");
    store_close(s);
    ck_assert_int_eq(store_look(path, key, why, sizeof(why)), 0);
    for (size_t i = 0; i < ARRAY_LEN(beside); i++) {
        ck_assert_int_ne(access(beside[i], F_OK), 0);
        free(beside[i]);
    }
    ck_assert_int_eq(truncate(path, 700), 0);
    ck_assert_int_ne(store_look(path, key, why, sizeof(why)), 0);
}
END_TEST

START_TEST(what_is_written_is_there_again)
{
    struct store *s = opened();
    struct store_batch *b = store_batch_new();
    struct stat st;

    ck_assert_str_eq(content(s, "edge"), "");
    store_batch_put(b, "edge", "b", "{1}", "sb", 2);
    store_batch_put(b, "edge", "a", "{2}", NULL, 0);
    store_batch_put(b, "edge", "c", "{3}", "", 0);
    store_batch_put(b, "other", "a", "{4}", NULL, 0);
    store_batch_put(b, "edge", "b", "{5}", "sb2", 3); /* the later one wins */
    store_batch_remove(b, "edge", "c");
    store_batch_remove(b, "edge", "never");
    ck_assert_int_eq(store_write(s, b, why, sizeof(why)), 0);
    store_batch_free(b);
    ck_assert_str_eq(content(s, "edge"), "a={2}/;b={5}/sb2;");
    store_close(s);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    s = opened();
    ck_assert_str_eq(content(s, "edge"), "a={2}/;b={5}/sb2;");
    ck_assert_str_eq(content(s, "other"), "a={4}/;");
    store_close(s);
}
END_TEST

/* Not in the file, not in its log, also after it was replaced and removed. */
static void must_not_hold(const char *text)
{
    static const char *const ends[] = {"", "-wal", "-shm"};

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        char *name = must_printf("%s%s", path, ends[i]);
        FILE *file = fopen(name, "r");
        static char bytes[1 << 20];
        size_t n = file ? fread(bytes, 1, sizeof(bytes), file) : 0;

        ck_assert_msg(!memmem(bytes, n, text, strlen(text)), "%s", name);
        if (file)
            fclose(file);
        free(name);
    }
}

START_TEST(secrets_are_sealed)
{
    struct store *s = opened();

    write_one(s, "a", "{}", SECRET);
    must_not_hold(SECRET);
    write_one(s, "a", "{}", "another");
    must_not_hold(SECRET);
    must_not_hold("another");
    store_close(s);
    must_not_hold(SECRET);
}
END_TEST

static void sql(const char *text)
{
    sqlite3 *db;

    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

START_TEST(a_secret_is_bound_to_its_record)
{
    struct store *s = opened();
    char all[4096] = "";

    write_one(s, "a", "{}", SECRET);
    write_one(s, "b", "{}", "other");
    store_close(s);
    sql("UPDATE record SET secret = (SELECT secret FROM record WHERE id = 'a') WHERE id = 'b'");
    s = opened();
    ck_assert_int_eq(store_load(s, "edge", on_record, all, why, sizeof(why)), -ERR_AUTH);
    store_close(s);
}
END_TEST

START_TEST(what_is_not_ours_is_refused)
{
    static const uint8_t other_key[STORE_KEY_BYTES] = "another";
    struct store *s = opened(), *second;
    FILE *file;

    ck_assert_int_eq(open_with(&second, key), -ERR_CONFLICT);
    ck_assert_ptr_nonnull(strstr(why, "another process uses it"));
    store_close(s);
    ck_assert_int_eq(open_with(&s, other_key), -ERR_AUTH);
    ck_assert_ptr_nonnull(strstr(why, "another key"));
    sql("PRAGMA user_version = 99");
    ck_assert_int_eq(open_with(&s, key), -ERR_SYNTAX);
    ck_assert_ptr_nonnull(strstr(why, "newer version"));
    sql("PRAGMA user_version = 1; PRAGMA application_id = 7");
    ck_assert_int_eq(open_with(&s, key), -ERR_SYNTAX);
    ck_assert_ptr_nonnull(strstr(why, "something else"));
    ck_assert_int_eq(unlink(path), 0);
    file = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is no database ", file);
    fclose(file);
    ck_assert_int_eq(open_with(&s, key), -ERR_SYNTAX);
    ck_assert_ptr_nonnull(strstr(why, "not a database"));
    ck_assert_int_eq(unlink(path), 0);
    free(path);
    path = must_printf("%s/no/such/folder.db", folder);
    ck_assert_int_eq(open_with(&s, key), -ERR_IO);
}
END_TEST

static size_t read_file(char *out, size_t size)
{
    FILE *file = fopen(path, "r");
    size_t n;

    ck_assert_ptr_nonnull(file);
    n = fread(out, 1, size, file);
    fclose(file);
    return n;
}

/* Refused, and not a byte of it is another one; no log is beside it. */
START_TEST(what_is_not_ours_is_not_changed)
{
    static const char *const theirs[] = {
        "CREATE TABLE theirs (a)",
        "PRAGMA user_version = 1",
        "PRAGMA application_id = 7",
        "CREATE TABLE record (a); PRAGMA user_version = 1",
    };
    static char before[65536], after[65536];
    char *log = must_printf("%s-wal", path);
    struct store *s;
    size_t n;

    sql(theirs[_i]);
    n = read_file(before, sizeof(before));
    ck_assert_int_eq(open_with(&s, key), -ERR_SYNTAX);
    ck_assert_ptr_nonnull(strstr(why, "something else"));
    ck_assert_ptr_nonnull(strstr(why, path));
    ck_assert_uint_eq(read_file(after, sizeof(after)), n);
    ck_assert_mem_eq(before, after, n);
    ck_assert_int_ne(access(log, F_OK), 0);
    free(log);
}
END_TEST

/* As one that ended before it had written anything leaves it. */
START_TEST(an_empty_file_is_taken)
{
    struct store *s;

    sql("PRAGMA journal_mode = WAL");
    s = opened();
    write_one(s, "a", "{}", NULL);
    store_close(s);
}
END_TEST

/* --- the lock */

static char *lock_name(void)
{
    return must_printf("%s-lock", path);
}

/* A lock that is no file: not "there is no lock". */
START_TEST(a_lock_that_cannot_be_opened)
{
    char *name = lock_name();
    struct store *s;

    ck_assert_int_eq(mkdir(name, 0700), 0);
    ck_assert_int_eq(open_with(&s, key), -ERR_IO);
    ck_assert_ptr_nonnull(strstr(why, name));
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert_int_eq(rmdir(name), 0);
    ck_assert_int_eq(symlink("/dev/null", name), 0);
    ck_assert_int_eq(open_with(&s, key), -ERR_IO);
    free(name);
}
END_TEST

/* Root may write everywhere: for a while we are nobody. */
static void be_nobody(bool is_nobody)
{
    static bool was_root;

    was_root = was_root || geteuid() == 0;
    if (was_root) {
        ck_assert_int_eq(seteuid(is_nobody ? 65534 : 0), 0);
        ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0); /* the leak checker's wish */
    }
}

START_TEST(without_a_lock_nothing_is_written)
{
    struct store *s = opened(), *second;
    struct store_batch *b = store_batch_new();
    char *name = lock_name();
    struct store_stats stats;

    write_one(s, "a", "1", NULL);
    store_close(s);
    ck_assert_int_eq(unlink(name), 0);
    ck_assert_int_eq(chmod(path, 0666), 0); /* the file would let us */
    ck_assert_int_eq(chmod(folder, 0555), 0);
    be_nobody(true);
    s = opened();
    ck_assert_str_eq(content(s, "edge"), "a=1/;");
    store_batch_put(b, "edge", "a", "2", NULL, 0);
    ck_assert_int_eq(store_write(s, b, why, sizeof(why)), -ERR_DENIED);
    ck_assert_ptr_nonnull(strstr(why, name));
    store_stats(s, &stats);
    ck_assert(stats.is_read_only);
    be_nobody(false);
    ck_assert_int_eq(chmod(folder, 0777), 0);
    be_nobody(true);
    ck_assert_int_eq(store_write(s, b, why, sizeof(why)), 0);
    ck_assert_int_eq(open_with(&second, key), -ERR_CONFLICT);
    ck_assert_str_eq(content(s, "edge"), "a=2/;");
    store_close(s);
    be_nobody(false);
    store_batch_free(b);
    free(name);
}
END_TEST

/* That there is nothing to read either is not what is wrong. */
START_TEST(the_first_reason_is_told)
{
    char *name = lock_name();
    struct store *s;

    ck_assert_int_eq(chmod(folder, 0555), 0);
    be_nobody(true);
    ck_assert_int_eq(open_with(&s, key), -ERR_DENIED);
    be_nobody(false);
    ck_assert_ptr_nonnull(strstr(why, name));
    ck_assert_int_eq(chmod(folder, 0700), 0);
    free(name);
}
END_TEST

/* Another program has the file for itself: that is no read-only disk. */
START_TEST(a_busy_file_is_not_a_read_only_one)
{
    struct store *s = opened();
    struct store_batch *b = store_batch_new();
    struct store_stats stats;
    sqlite3 *db;

    store_batch_put(b, "edge", "a", "1", NULL, 0);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(store_write(s, b, why, sizeof(why)), -ERR_IO); /* and has let go of the file */
    ck_assert_int_eq(
        sqlite3_exec(db, "COMMIT; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE", NULL, NULL, NULL),
        SQLITE_OK);
    ck_assert_int_eq(store_write(s, b, why, sizeof(why)), -ERR_IO);
    store_stats(s, &stats);
    ck_assert(!stats.is_read_only);
    sqlite3_close(db);
    ck_assert_int_eq(store_write(s, b, why, sizeof(why)), 0);
    store_batch_free(b);
    store_close(s);
}
END_TEST

/* --- the thread */

static struct {
    unsigned done, wanted;
    int errs[8];
} seen;

static void on_done(void *arg, const struct store_result *result)
{
    (void)arg;
    seen.errs[seen.done++] = result->err;
    snprintf(why, sizeof(why), "%s", result->why);
    if (seen.done == seen.wanted)
        loop_stop(loop);
}

static int commit(struct store *s, const char *id, const char *body)
{
    struct store_batch *b = store_batch_new();
    int err;

    store_batch_put(b, "edge", id, body, NULL, 0);
    err = store_commit(s, b, on_done, NULL);
    if (err)
        store_batch_free(b);
    return err;
}

static void wait_for(unsigned n)
{
    seen.wanted = n;
    if (seen.done < n)
        loop_run(loop);
    ck_assert_uint_eq(seen.done, n);
}

START_TEST(commits_come_back_in_order)
{
    struct store *s = opened();
    struct store_stats stats;

    memset(&seen, 0, sizeof(seen));
    ck_assert_int_eq(store_start(s), 0);
    for (unsigned i = 1; i <= 5; i++) {
        char body[8];

        snprintf(body, sizeof(body), "%u", i);
        ck_assert_int_eq(commit(s, "a", body), 0);
        wait_for(i);
        ck_assert_int_eq(seen.errs[i - 1], 0);
    }
    store_stats(s, &stats);
    ck_assert_uint_eq(stats.commits, 5);
    ck_assert_uint_eq(stats.queued, 0);
    store_close(s);
    s = opened();
    ck_assert_str_eq(content(s, "edge"), "a=5/;");
    store_close(s);
}
END_TEST

/* A burst that no disk is as fast as. */
START_TEST(the_queue_is_bounded)
{
    struct store *s = opened();
    struct store_stats stats;
    int err = 0;
    unsigned taken = 0;

    memset(&seen, 0, sizeof(seen));
    ck_assert_int_eq(store_start(s), 0);
    for (unsigned i = 0; i < 8 && !err; i++) /* faster than any disk; two wait at the most */
        taken += (err = commit(s, "a", "x")) == 0;
    ck_assert_int_eq(err, -ERR_LIMIT);
    wait_for(taken);
    ck_assert_int_eq(commit(s, "a", "y"), 0);
    store_stats(s, &stats);
    ck_assert_uint_eq(stats.queue_full, 1);
    store_close(s); /* writes what waits */
    s = opened();
    ck_assert_str_eq(content(s, "edge"), "a=y/;");
    store_close(s);
    loop_settle(loop);
    ck_assert_uint_eq(seen.done, taken + 1);
}
END_TEST

START_TEST(a_file_that_was_moved_is_not_written)
{
    struct store *s = opened();
    char *elsewhere = must_printf("%s/elsewhere.db", folder);
    struct store_stats stats;

    memset(&seen, 0, sizeof(seen));
    ck_assert_int_eq(store_start(s), 0);
    ck_assert_int_eq(rename(path, elsewhere), 0);
    ck_assert_int_eq(commit(s, "a", "1"), 0);
    wait_for(1);
    ck_assert_int_eq(seen.errs[0], -ERR_IO);
    ck_assert_ptr_nonnull(strstr(why, "moved"));
    ck_assert_int_eq(rename(elsewhere, path), 0);
    ck_assert_int_eq(commit(s, "a", "2"), 0);
    wait_for(2);
    ck_assert_int_eq(seen.errs[1], 0);
    store_stats(s, &stats);
    ck_assert_uint_eq(stats.faults[STORE_FAULT_IO], 1);
    store_close(s);
    free(elsewhere);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("store");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_look_changes_nothing);
    tcase_add_test(tcase, what_is_written_is_there_again);
    tcase_add_test(tcase, secrets_are_sealed);
    tcase_add_test(tcase, a_secret_is_bound_to_its_record);
    tcase_add_test(tcase, what_is_not_ours_is_refused);
    tcase_add_loop_test(tcase, what_is_not_ours_is_not_changed, 0, 4);
    tcase_add_test(tcase, an_empty_file_is_taken);
    tcase_add_test(tcase, a_lock_that_cannot_be_opened);
    tcase_add_test(tcase, without_a_lock_nothing_is_written);
    tcase_add_test(tcase, the_first_reason_is_told);
    tcase_add_test(tcase, a_busy_file_is_not_a_read_only_one);
    tcase_add_test(tcase, commits_come_back_in_order);
    tcase_add_test(tcase, the_queue_is_bounded);
    tcase_add_test(tcase, a_file_that_was_moved_is_not_written);
    return suite_run("store_store", tcase);
}
