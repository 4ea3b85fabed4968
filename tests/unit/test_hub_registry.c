/* The registry: what a change means, secrets and their grace, etags. */
#include <stdio.h>

#include "base/err.h"
#include "hub/registry.h"
#include "hub_fixture.h"

static struct edge_spec spec_of(const char *id, uint16_t port)
{
    struct edge_spec spec;

    edge_spec_init(&spec);
    snprintf(spec.id, sizeof(spec.id), "%s", id);
    port_list_set(&spec.ports, &port, 1);
    return spec;
}

static unsigned put(struct registry *r, struct edge_spec spec)
{
    unsigned change = 0, foreseen = registry_compare(r, &spec);

    if (!registry_find(r, spec.id))
        edge_spec_make_secret(&spec);
    ck_assert_int_eq(registry_put(r, &spec, &change), 0);
    ck_assert_uint_eq(change, foreseen);
    edge_spec_fini(&spec);
    return change;
}

START_TEST(changes)
{
    struct registry r;
    struct edge_spec spec;
    struct edge *e;

    registry_init(&r, 10);
    ck_assert_uint_eq(put(&r, spec_of("e1", 443)), EDGE_ADDED);
    e = registry_find(&r, "e1");
    ck_assert_uint_eq(strlen(e->secret), EDGE_SECRET_MADE);
    ck_assert(secret_is_valid(e->secret));
    ck_assert_uint_eq(put(&r, spec_of("e1", 443)), EDGE_SAME);
    ck_assert_uint_eq(put(&r, spec_of("e1", 80)), EDGE_NEW_CONFIG);

    spec = spec_of("e1", 80);
    spec.stun_interval_secs = 60;
    ck_assert_uint_eq(put(&r, spec), EDGE_NEW_CONFIG);

    spec = spec_of("e1", 80);
    spec.stun_interval_secs = 60;
    spec.max_instances = 2;
    ck_assert_uint_eq(put(&r, spec), EDGE_OTHER);

    spec = spec_of("e1", 81);
    spec.stun_interval_secs = 60;
    spec.max_instances = 2;
    spec.is_enabled = false;
    snprintf(spec.secret, sizeof(spec.secret), "0123456789012345678901");
    ck_assert_uint_eq(put(&r, spec), EDGE_NEW_CONFIG | EDGE_NEW_SECRET | EDGE_NOW_DISABLED);
    ck_assert_str_eq(e->secret, "0123456789012345678901");
    ck_assert(!e->is_enabled);
    ck_assert(port_list_has(&e->ports, 81) && e->ports.count == 1);
    registry_fini(&r);
}
END_TEST

START_TEST(order_and_limit)
{
    static const char *const ids[] = {"m", "a", "z", "b", "A"};
    struct registry r;
    struct edge_spec spec;
    unsigned change;

    registry_init(&r, 5);
    for (size_t i = 0; i < 5; i++)
        put(&r, spec_of(ids[i], 1));
    for (size_t i = 1; i < r.count; i++)
        ck_assert_int_lt(strcmp(r.edges[i - 1]->id, r.edges[i]->id), 0);
    spec = spec_of("more", 1);
    ck_assert_int_eq(registry_put(&r, &spec, &change), -ERR_LIMIT);
    edge_spec_fini(&spec);
    ck_assert_uint_eq(put(&r, spec_of("z", 2)), EDGE_NEW_CONFIG); /* not one more */
    registry_remove(&r, registry_find(&r, "b"));
    ck_assert_ptr_null(registry_find(&r, "b"));
    ck_assert_uint_eq(r.count, 4);
    for (size_t i = 0; i < 5; i++)
        ck_assert_int_eq(registry_find(&r, ids[i]) != NULL, strcmp(ids[i], "b") != 0);
    registry_fini(&r);
}
END_TEST

START_TEST(thousands)
{
    struct registry r;
    char id[16];

    registry_init(&r, 10000);
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(id, sizeof(id), "edge-%u", (i * 7919) % 10000);
        put(&r, spec_of(id, (uint16_t)(i + 1)));
    }
    ck_assert_uint_eq(r.count, 10000);
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(id, sizeof(id), "edge-%u", i);
        ck_assert_str_eq(registry_find(&r, id)->id, id);
    }
    ck_assert_ptr_null(registry_find(&r, "edge-10000"));
    registry_fini(&r);
}
END_TEST

START_TEST(secret_grace)
{
    struct registry r;
    struct edge *e;
    char first[SECRET_MAX + 1], second[SECRET_MAX + 1];

    registry_init(&r, 10);
    put(&r, spec_of("e1", 443));
    e = registry_find(&r, "e1");
    ck_assert_ptr_null(edge_old_secret(e, 1000));
    memcpy(first, e->secret, sizeof(first));
    registry_renew_secret(&r, e, new_secret(), secret_grace_of(5000, 1000, 1700000000));
    memcpy(second, e->secret, sizeof(second));
    ck_assert_str_ne(first, second);
    ck_assert_str_eq(edge_old_secret(e, 5999), first);
    ck_assert_ptr_null(edge_old_secret(e, 6000));
    ck_assert_int_eq(e->old_until.until_unix, 1700000005);
    ck_assert(edge_is_secret_good(e, e->secret_number, 6000));
    ck_assert(edge_is_secret_good(e, e->secret_number - 1, 5999));
    ck_assert(!edge_is_secret_good(e, e->secret_number - 1, 6000));
    ck_assert(!edge_is_secret_good(e, e->secret_number - 2, 5999));
    registry_renew_secret(
        &r, e, new_secret(),
        secret_grace_of(0, 2000, 1700000001)); /* at once: neither is good any more */
    ck_assert_ptr_null(edge_old_secret(e, 2000));
    ck_assert_str_ne(e->secret, second);
    ck_assert(!edge_is_secret_good(e, e->secret_number - 1, 2000));
    ck_assert_int_eq(e->old_until.until_unix, 0);
    registry_fini(&r);
}
END_TEST

START_TEST(etags)
{
    char a[REGISTRY_ETAG_MAX], b[REGISTRY_ETAG_MAX];
    struct registry r, other;

    registry_init(&r, 10);
    registry_init(&other, 10);
    ck_assert_str_ne(registry_etag(&r, NULL, a), registry_etag(&other, NULL, b)); /* another run */
    put(&r, spec_of("e1", 1));
    put(&r, spec_of("e2", 1));
    registry_etag(&r, NULL, a);
    put(&r, spec_of("e2", 1));
    ck_assert_str_eq(registry_etag(&r, NULL, b), a); /* nothing changed */
    put(&r, spec_of("e2", 2));
    ck_assert_str_ne(registry_etag(&r, NULL, b), a);
    registry_etag(&r, registry_find(&r, "e1"), a);
    put(&r, spec_of("e2", 3));
    ck_assert_str_eq(registry_etag(&r, registry_find(&r, "e1"), b), a);
    registry_remove(&r, registry_find(&r, "e2"));
    registry_etag(&r, NULL, a);
    put(&r, spec_of("e2", 3));
    ck_assert_str_ne(registry_etag(&r, NULL, b), a);
    registry_fini(&r);
    registry_fini(&other);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("registry");

    tcase_add_test(tcase, changes);
    tcase_add_test(tcase, order_and_limit);
    tcase_add_test(tcase, thousands);
    tcase_add_test(tcase, secret_grace);
    tcase_add_test(tcase, etags);
    return suite_run("hub_registry", tcase);
}
