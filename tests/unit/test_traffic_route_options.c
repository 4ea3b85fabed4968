/* What a route may say beside its name, certificate and destinations: every fault by its pointer,
 * one normalised text for what means the same. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support/suite.h"
#include "support/tls_pem.h"
#include "traffic/route_options.h"

static struct origin_tls_cache cache;

/* Single quotes stand for double ones. */
static struct json_object *object(const char *text)
{
    char *copy = must_strdup(text);
    struct json_object *obj;

    for (char *at = copy; *at; at++)
        if (*at == '\'')
            *at = '"';
    obj = json_tokener_parse(copy);
    ck_assert_msg(obj != NULL, "%s", copy);
    free(copy);
    return obj;
}

static struct route_options *parse(struct json_check *faults, const char *text, const char *host)
{
    struct json_object *obj = object(text);
    struct route_options *options;

    json_check_init(faults);
    options = route_options_parse(faults, "/routes/3", obj, host, &cache);
    json_object_put(obj);
    return options;
}

static struct route_options *good(const char *text)
{
    struct json_check faults;
    struct route_options *options = parse(&faults, text, "a.test");

    ck_assert_msg(options != NULL, "%s: %s %s", text, faults.count ? faults.faults[0].pointer : "",
                  faults.count ? faults.faults[0].detail : "");
    json_check_fini(&faults);
    return options;
}

static const struct {
    const char *text, *faults[4];
} bad[] = {
    {"{'balance':'x'}", {"/routes/3/balance invalid"}},
    {"{'balance':1}", {"/routes/3/balance type"}},
    {"{'explain':1,'forwardAuthorization':'yes'}",
     {"/routes/3/explain type", "/routes/3/forwardAuthorization type"}},
    {"{'maxBodyBytes':-1}", {"/routes/3/maxBodyBytes range"}},
    {"{'timeouts':{'connectSecs':0,'bodyIdleSecs':86401,'idleSecs':1}}",
     {"/routes/3/timeouts/idleSecs unknown", "/routes/3/timeouts/connectSecs range",
      "/routes/3/timeouts/bodyIdleSecs range"}},
    {"{'hsts':true}", {"/routes/3/hsts type"}},
    {"{'hsts':{'maxAgeSecs':-1}}", {"/routes/3/hsts/maxAgeSecs range"}},
    {"{'healthCheck':{}}", {"/routes/3/healthCheck/path required"}},
    {"{'healthCheck':{'path':'x','intervalSecs':0}}",
     {"/routes/3/healthCheck/intervalSecs range", "/routes/3/healthCheck/path invalid"}},
    {"{'healthCheck':{'path':'/a b'}}", {"/routes/3/healthCheck/path invalid"}},
    {"{'headers':{'request':{'set':{'Host':'x'}}}}",
     {"/routes/3/headers/request/set/Host invalid"}},
    {"{'headers':{'request':{'set':{'X-Forwarded-For':'x','a b':'x'}}}}",
     {"/routes/3/headers/request/set/X-Forwarded-For invalid",
      "/routes/3/headers/request/set/a b invalid"}},
    {"{'headers':{'response':{'set':{'A':'x'},'remove':['a',7]}}}",
     {"/routes/3/headers/response/remove/0 duplicate", "/routes/3/headers/response/remove/1 type"}},
    {"{'headers':{'response':{'set':{'A':' x','B':'x\\ny'}}}}",
     {"/routes/3/headers/response/set/A invalid", "/routes/3/headers/response/set/B invalid"}},
    {"{'upstreamTls':{'verify':false,'caFile':'/none'}}",
     {"/routes/3/upstreamTls/caFile conflict"}},
    {"{'upstreamTls':{'caFile':'/none/ca.pem'}}", {"/routes/3/upstreamTls/caFile invalid"}},
    {"{'upstreamTls':{'serverName':1}}", {"/routes/3/upstreamTls/serverName type"}},
};

START_TEST(faults_have_pointers)
{
    struct json_check faults;
    unsigned n = 0;

    ck_assert_ptr_null(parse(&faults, bad[_i].text, "a.test"));
    for (; n < ARRAY_LEN(bad[0].faults) && bad[_i].faults[n]; n++) {
        char line[200];

        ck_assert_msg(n < faults.count, "%s: not found: %s", bad[_i].text, bad[_i].faults[n]);
        snprintf(line, sizeof(line), "%s %s", faults.faults[n].pointer, faults.faults[n].code);
        /* A value of a wrong character may be found earlier, by the reader of strings. */
        ck_assert_str_eq(line, bad[_i].faults[n]);
    }
    ck_assert_uint_eq(faults.count, n);
    json_check_fini(&faults);
}
END_TEST

START_TEST(nothing_said)
{
    struct route_options *options = good("{}");

    ck_assert_str_eq(options->text, "");
    ck_assert_int_eq(options->balance, BALANCE_ROUND_ROBIN);
    ck_assert(options->max_body_bytes == UINT64_MAX);
    ck_assert_ptr_null(options->health.path);
    ck_assert_ptr_null(options->hsts);
    ck_assert_ptr_null(options->tls);
    route_options_unref(options);
}
END_TEST

START_TEST(everything_said)
{
    struct route_options *o =
        good("{'balance':'p2c','explain':true,'forwardAuthorization':true,'maxBodyBytes':1000,"
             "'timeouts':{'connectSecs':2,'bodyIdleSecs':7},"
             "'hsts':{'maxAgeSecs':60,'includeSubDomains':true},"
             "'healthCheck':{'path':'/up','intervalSecs':3,'healthyAfter':1},"
             "'headers':{'request':{'set':{'X-B':'2','X-A':'1'},'remove':['Cookie']},"
             "'response':{'remove':['Server']}},"
             "'upstreamTls':{'verify':false,'serverName':'in.test'}}");

    ck_assert_int_eq(o->balance, BALANCE_P2C);
    ck_assert(o->explains && o->forwards_authorization);
    ck_assert_uint_eq(o->max_body_bytes, 1000);
    ck_assert_uint_eq(o->connect_ms, 2000);
    ck_assert_uint_eq(o->silence_ms, 7000);
    ck_assert_str_eq(o->hsts, "max-age=60; includeSubDomains");
    ck_assert_str_eq(o->health.path, "/up");
    ck_assert_uint_eq(o->health.interval_ms, 3000);
    ck_assert_uint_eq(o->health.timeout_ms, 5000);
    ck_assert_uint_eq(o->health.healthy_threshold, 1);
    ck_assert_uint_eq(o->health.unhealthy_threshold, 3);
    ck_assert_uint_eq(o->to_origin.count, 3);
    ck_assert_str_eq(o->to_origin.list[0].name, "cookie");
    ck_assert_ptr_null(o->to_origin.list[0].value);
    ck_assert_str_eq(o->to_origin.list[1].name, "x-a");
    ck_assert_str_eq(o->to_origin.list[1].value, "1");
    ck_assert_uint_eq(o->to_client.count, 1);
    ck_assert_str_eq(o->tls->name, "in.test");
    route_options_unref(o);
}
END_TEST

/* The order of keys, and what is the default, change nothing; what was written down reads back. */
START_TEST(one_text_for_one_meaning)
{
    struct route_options *a = good("{'headers':{'request':{'set':{'X-B':'2','X-A':'1'}}},"
                                   "'healthCheck':{'path':'/'},'balance':'roundRobin'}");
    struct route_options *b = good("{'healthCheck':{'intervalSecs':10,'path':'/'},"
                                   "'headers':{'request':{'set':{'x-a':'1','x-b':'2'}}}}");
    struct route_options *c = good(a->text);

    ck_assert_str_eq(a->text, b->text);
    ck_assert_str_eq(a->text, c->text);
    route_options_unref(a);
    route_options_unref(b);
    route_options_unref(c);
}
END_TEST

/* Routes that say the same of their destinations' TLS share it; a CA file with another content is
 * another trust. */
START_TEST(tls_is_shared)
{
    struct tls_pem ca, other;
    char *path, *text;
    struct route_options *a, *b, *c, *d;
    FILE *file;

    tls_pem_make(&ca, &(struct tls_pem_options){.name = "ca", .is_ca = true});
    tls_pem_make(&other, &(struct tls_pem_options){.name = "ca", .is_ca = true});
    path = tls_pem_file(ca.chain);
    text = must_printf("{'upstreamTls':{'caFile':'%s'}}", path);
    a = good(text);
    b = good(text);
    ck_assert_str_eq(a->tls->name, "a.test");
    ck_assert_ptr_eq(a->tls, b->tls);
    free(text);
    text = must_printf("{'upstreamTls':{'caFile':'%s','serverName':'b.test'}}", path);
    c = good(text);
    ck_assert_ptr_ne(a->tls, c->tls);
    ck_assert_ptr_eq(a->tls->ctx, c->tls->ctx);
    file = fopen(path, "w");
    fputs(other.chain, file);
    fclose(file);
    d = good(text);
    ck_assert_ptr_ne(d->tls->ctx, c->tls->ctx);
    ck_assert_str_eq(d->text, c->text);
    ck_assert_mem_ne(d->tls->id, c->tls->id, ORIGIN_TLS_ID_BYTES);
    free(text);
    free(path);
    tls_pem_fini(&ca);
    tls_pem_fini(&other);
    route_options_unref(a);
    route_options_unref(b);
    route_options_unref(c);
    route_options_unref(d);
    origin_tls_cache_fini(&cache);
}
END_TEST

/* The apply thread reads it: one that waits would be its last. */
START_TEST(a_ca_file_that_is_a_fifo)
{
    char *path = tls_pem_file(""), *text;
    struct json_check faults;

    ck_assert_int_eq(remove(path), 0);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    text = must_printf("{'upstreamTls':{'caFile':'%s'}}", path);
    ck_assert_ptr_null(parse(&faults, text, "a.test"));
    ck_assert_str_eq(faults.faults[0].pointer, "/routes/3/upstreamTls/caFile");
    ck_assert_ptr_nonnull(strstr(faults.faults[0].detail, "no regular file"));
    ck_assert_uint_eq(cache.failures, 1);
    json_check_fini(&faults);
    ck_assert_int_eq(remove(path), 0);
    free(path);
    free(text);
    origin_tls_cache_fini(&cache);
}
END_TEST

START_TEST(a_wildcard_names_nobody)
{
    struct json_check faults;
    struct route_options *options;

    ck_assert_ptr_null(parse(&faults, "{'upstreamTls':{}}", "*.a.test"));
    ck_assert_str_eq(faults.faults[0].pointer, "/routes/3/upstreamTls/serverName");
    json_check_fini(&faults);
    options = parse(&faults, "{'upstreamTls':{'verify':false}}", "*.a.test");
    ck_assert_str_eq(options->tls->name, "");
    route_options_unref(options);
    json_check_fini(&faults);
    origin_tls_cache_fini(&cache);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("options");

    tcase_add_loop_test(tcase, faults_have_pointers, 0, (int)ARRAY_LEN(bad));
    tcase_add_test(tcase, nothing_said);
    tcase_add_test(tcase, everything_said);
    tcase_add_test(tcase, one_text_for_one_meaning);
    tcase_add_test(tcase, tls_is_shared);
    tcase_add_test(tcase, a_ca_file_that_is_a_fifo);
    tcase_add_test(tcase, a_wildcard_names_nobody);
    return suite_run("traffic_route_options", tcase);
}
