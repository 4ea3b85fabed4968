/* What of the registry is durable: edges and their secrets come back, the configuration's list
 * begins. */
#include "hub_tunnel_fixture.h"

#include <sqlite3.h>

#include "hub/registry_store.h"
#include "hub/unix_time.h"

static struct hub_conf conf;
static struct registry registry;
static struct store *store;
static struct loop *loop;
static const char *what;
static char why[STORE_WHY_BYTES];

static void read_conf(void)
{
    const char *sets[] = {NULL, NULL};
    char state[96], *none[] = {NULL};
    struct json_check faults;

    snprintf(state, sizeof(state), "stateDir=%s", state_dir);
    sets[0] = state;
    json_check_init(&faults);
    memset(&conf, 0, sizeof(conf));
    ck_assert_int_eq(conf_read(&hub_conf_table, NULL, none, sets, &conf, &faults), 0);
    json_check_fini(&faults);
}

static int try_open(size_t limit)
{
    registry_init(&registry, limit);
    return registry_store_open(&store, &registry, loop, &conf, &what, why, sizeof(why));
}

static void open_it(void)
{
    ck_assert_msg(try_open(10) == 0, "%s", why);
}

static void close_it(void)
{
    store_close(store);
    registry_fini(&registry);
    store = NULL;
}

static void setup(void)
{
    log_set_level(LOG_ERR);
    strcpy(state_dir, "/tmp/hub-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(state_dir));
    loop = loop_new("test", 0, 0);
    read_conf();
}

static void teardown(void)
{
    loop_free(loop);
    conf_free(&hub_conf_table, &conf);
    nftw(state_dir, on_file, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(struct store_batch *b, const char *id, const char *secret)
{
    struct edge_spec spec;
    unsigned change;

    edge_spec_init(&spec);
    strcpy(spec.id, id);
    strcpy(spec.secret, secret);
    port_list_set(&spec.ports, (uint16_t[]){443, 80}, 2);
    spec.max_instances = 3;
    spec.is_enabled = false;
    ck_assert_int_eq(registry_put(&registry, &spec, &change), 0);
    edge_spec_fini(&spec);
    registry_batch_put(b, registry_find(&registry, id));
}

static void write_batch(struct store_batch *b)
{
    ck_assert_int_eq(store_write(store, b, why, sizeof(why)), 0);
    store_batch_free(b);
}

START_TEST(edges_come_back)
{
    struct store_batch *b = store_batch_new();
    const struct edge *edge;
    char second[SECRET_MAX + 1];

    open_it();
    ck_assert_uint_eq(registry.count, 0);
    put(b, "e1", SECRET_OF_E1);
    put(b, "e2", SECRET_OF_E1);
    registry_renew_secret(&registry, registry_find(&registry, "e1"), new_secret(),
                          secret_grace_of(3600000, loop_now_ms(loop), unix_time_now()));
    strcpy(second, registry_find(&registry, "e1")->secret);
    registry_batch_put(b, registry_find(&registry, "e1"));
    registry_batch_remove(b, "e2");
    write_batch(b);
    close_it();
    open_it();
    ck_assert_uint_eq(registry.count, 1);
    edge = registry_find(&registry, "e1");
    ck_assert_ptr_nonnull(edge);
    ck_assert_str_eq(edge->secret, second);
    ck_assert_str_eq(edge_old_secret(edge, loop_now_ms(loop)), SECRET_OF_E1);
    ck_assert_ptr_null(edge_old_secret(edge, loop_now_ms(loop) + 3601000));
    ck_assert_uint_eq(edge->ports.count, 2);
    ck_assert_uint_eq(edge->max_instances, 3);
    ck_assert(!edge->is_enabled);
    close_it();
}
END_TEST

START_TEST(an_old_secret_whose_time_is_over)
{
    struct store_batch *b = store_batch_new();

    open_it();
    put(b, "e1", SECRET_OF_E1);
    registry_renew_secret(&registry, registry_find(&registry, "e1"), new_secret(),
                          secret_grace_of(1000, 1, unix_time_now() - 10));
    registry_batch_put(b, registry_find(&registry, "e1"));
    write_batch(b);
    close_it();
    open_it();
    ck_assert_str_eq(registry_find(&registry, "e1")->old_secret, "");
    close_it();
}
END_TEST

/* The clock was wrong when it was written. */
START_TEST(an_old_secret_is_good_for_so_long_at_most)
{
    const uint64_t most_ms = (uint64_t)GRACE_SECS_MAX * 1000;
    struct store_batch *b = store_batch_new();
    const struct edge *edge;

    open_it();
    put(b, "e1", SECRET_OF_E1);
    registry_renew_secret(&registry, registry_find(&registry, "e1"), new_secret(),
                          (struct secret_grace){1, INT64_MAX});
    registry_batch_put(b, registry_find(&registry, "e1"));
    write_batch(b);
    close_it();
    open_it();
    edge = registry_find(&registry, "e1");
    ck_assert_str_eq(edge_old_secret(edge, loop_now_ms(loop)), SECRET_OF_E1);
    ck_assert_ptr_null(edge_old_secret(edge, loop_now_ms(loop) + most_ms + 1000));
    close_it();
}
END_TEST

START_TEST(more_than_the_limit)
{
    struct store_batch *b = store_batch_new();

    open_it();
    put(b, "e1", SECRET_OF_E1);
    put(b, "e2", SECRET_OF_E1);
    write_batch(b);
    close_it();
    ck_assert_int_eq(try_open(1), -ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(why, "limits.edges"));
    close_it();
}
END_TEST

static int try_fill(const char *id, unsigned max_instances)
{
    struct store_batch *unwritten;
    struct edge_spec spec;
    int err;

    edge_spec_init(&spec);
    strcpy(spec.id, id);
    strcpy(spec.secret, SECRET_OF_E1);
    spec.max_instances = max_instances;
    err = registry_store_fill(store, &registry, &spec, id[0] ? 1 : 0, &unwritten, why, sizeof(why));
    ck_assert_ptr_null(unwritten);
    edge_spec_fini(&spec);
    return err;
}

static void fill(const char *id, unsigned max_instances)
{
    ck_assert_msg(try_fill(id, max_instances) == 0, "%s", why);
}

static void remove_e1(void)
{
    struct store_batch *b = store_batch_new();

    registry_remove(&registry, registry_find(&registry, "e1"));
    registry_batch_remove(b, "e1");
    write_batch(b);
}

START_TEST(the_list_begins)
{
    open_it();
    fill("e1", 1);
    remove_e1();
    close_it();
    open_it();
    fill("e1", 1); /* the same entry: what was removed stays so */
    ck_assert_ptr_null(registry_find(&registry, "e1"));
    close_it();
    open_it();
    fill("e1", 2); /* another one */
    ck_assert_uint_eq(registry_find(&registry, "e1")->max_instances, 2);
    fill("", 0); /* not in the list any more: it stays */
    ck_assert_ptr_nonnull(registry_find(&registry, "e1"));
    close_it();
    open_it();
    fill("e1", 2); /* as it was, and yet new again */
    close_it();
    open_it();
    remove_e1();
    fill("", 0); /* nor in the registry: forgotten */
    close_it();
    open_it();
    fill("e1", 2);
    ck_assert_ptr_nonnull(registry_find(&registry, "e1"));
    close_it();
}
END_TEST

START_TEST(why_the_list_was_not_taken)
{
    char *path = must_printf("%s/hub.db", state_dir);
    sqlite3 *db;

    ck_assert_int_eq(try_open(1), 0);
    fill("e1", 1);
    ck_assert_int_eq(try_fill("e2", 1), -ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(why, "limits.edges"));
    close_it();
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db,
                                  "UPDATE record SET secret = (SELECT secret FROM record"
                                  " WHERE kind = 'edge') WHERE kind = 'conf'",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    open_it();
    ck_assert_int_eq(try_fill("e1", 1), -ERR_AUTH);
    ck_assert_ptr_nonnull(strstr(why, "cannot be opened"));
    close_it();
    free(path);
}
END_TEST

/* What cannot be made is told by the key that somebody has to mend.  (The tests run as root: a file
 * in the folder's place is what it cannot write in.) */
START_TEST(a_folder_that_cannot_be_written)
{
    char *no_folder = must_printf("%s/file", state_dir), *saved;
    FILE *f = fopen(no_folder, "we");

    ck_assert_ptr_nonnull(f);
    fclose(f);
    saved = conf.service.state_dir;
    conf.service.state_dir = no_folder;
    ck_assert_int_ne(try_open(10), 0);
    ck_assert_str_eq(what, "stateDir");
    registry_fini(&registry);
    free(conf.store_key_file);
    conf.store_key_file = must_printf("%s/x/key", no_folder);
    ck_assert_int_ne(try_open(10), 0);
    ck_assert_str_eq(what, "store.keyFile");
    registry_fini(&registry);
    conf.service.state_dir = saved;
    free(conf.store_url);
    conf.store_url = must_printf(STORE_SCHEME "%s/x.db", no_folder);
    free(conf.store_key_file);
    conf.store_key_file = must_strdup("");
    ck_assert_int_ne(try_open(10), 0);
    ck_assert_str_eq(what, "store.url");
    registry_fini(&registry);
    free(no_folder);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("records");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, edges_come_back);
    tcase_add_test(tcase, an_old_secret_whose_time_is_over);
    tcase_add_test(tcase, an_old_secret_is_good_for_so_long_at_most);
    tcase_add_test(tcase, more_than_the_limit);
    tcase_add_test(tcase, the_list_begins);
    tcase_add_test(tcase, why_the_list_was_not_taken);
    tcase_add_test(tcase, a_folder_that_cannot_be_written);
    return suite_run("hub_registry_store", tcase);
}
