/* What a route does to header fields: set takes the place of all of a name, remove leaves none. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/suite.h"
#include "traffic/forward_rules.h"

static struct route_header rules[] = {{(char *)"cookie", NULL}, {(char *)"x-a", (char *)"ours"}};
static struct route_options options = {
    .to_origin = {.list = rules, .count = 2},
    .to_client = {.list = rules, .count = 2},
    .hsts = (char *)"max-age=1",
};

static void put(struct http_fields *fields, const char *name, const char *value)
{
    fields->list[fields->count++] = (struct http_field){.name = name,
                                                        .value = value,
                                                        .name_len = (uint16_t)strlen(name),
                                                        .value_len = (uint16_t)strlen(value)};
}

static const char *kept(const struct http_fields *fields)
{
    static char out[512];

    out[0] = '\0';
    for (unsigned i = 0; i < fields->count; i++) {
        const struct http_field *f = &fields->list[i];

        if (f->is_dropped)
            continue;
        strncat(out, f->name, f->name_len);
        strncat(out, "=", 2);
        strncat(out, f->value, f->value_len);
        strncat(out, ";", 2);
    }
    return out;
}

START_TEST(request)
{
    static struct http_request r;
    char bytes[100];
    struct h1_text extras = {.p = bytes, .size = sizeof(bytes)};

    put(&r.fields, "Cookie", "1");
    put(&r.fields, "X-A", "theirs");
    put(&r.fields, "X-B", "2");
    put(&r.fields, "x-a", "again");
    put(&r.fields, "COOKIE", "3");
    forward_rules_request(&options, &r, &extras);
    ck_assert_str_eq(kept(&r.fields), "X-B=2;");
    ck_assert_uint_eq(extras.n, strlen("x-a: ours\r\n"));
    ck_assert_mem_eq(bytes, "x-a: ours\r\n", extras.n);
    extras = (struct h1_text){.p = bytes, .size = 5};
    forward_rules_request(&options, &r, &extras);
    ck_assert(extras.is_cut);
}
END_TEST

START_TEST(response)
{
    static struct http_response r;

    put(&r.fields, "Strict-Transport-Security", "max-age=0");
    put(&r.fields, "X-A", "theirs");
    put(&r.fields, "X-B", "2");
    ck_assert_int_eq(forward_rules_response(&options, &r), REASON_NONE);
    ck_assert_str_eq(kept(&r.fields), "X-B=2;strict-transport-security=max-age=1;x-a=ours;");
    while (r.fields.count < HTTP_FIELDS_MAX)
        put(&r.fields, "f", "");
    ck_assert_int_eq(forward_rules_response(&options, &r), REASON_TOO_MANY_FIELDS);
}
END_TEST

START_TEST(no_rules)
{
    static struct http_response r;
    static const struct route_options none;

    put(&r.fields, "X-A", "theirs");
    ck_assert_int_eq(forward_rules_response(&none, &r), REASON_NONE);
    ck_assert_str_eq(kept(&r.fields), "X-A=theirs;");
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("rules");

    tcase_add_test(tcase, request);
    tcase_add_test(tcase, response);
    tcase_add_test(tcase, no_rules);
    return suite_run("traffic_forward_rules", tcase);
}
