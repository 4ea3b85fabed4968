/* Tests of request_id: which of the client's are kept, what ours look like, and where they go. */
#include "traffic/request_id.h"

#include "base/must.h"
#include "support/suite.h"

static struct http_fields fields;

static void put(const char *name, const char *value)
{
    struct http_text text = {name, strlen(name)};

    fields.list[fields.count++] = (struct http_field){.name = name,
                                                      .value = value,
                                                      .name_len = (uint16_t)strlen(name),
                                                      .value_len = (uint16_t)strlen(value),
                                                      .id = (uint8_t)http_field_id_of(text)};
}

static void setup(void)
{
    fields.count = 0;
}

START_TEST(the_clients_own_is_kept_when_it_is_harmless)
{
    static const struct {
        const char *given;
        bool is_kept;
    } rows[] = {
        {"a", true},
        {"7f2c0f6e-5a8b-4c52-9f6b-2f0a3c1d4e5f", true},
        {"!#$%&'*+-.^_`|~09AZaz", true},
        {"0123456789012345678901234567890123456789012345678901234567890123", true},
        {"01234567890123456789012345678901234567890123456789012345678901234", false},
        {"", false},
        {"a b", false},
        {"a\tb", false},
        {"a\"b", false},
        {"a,b", false},
        {"a;b", false},
        {"a\\b", false},
        {"\xe9", false},
    };
    char id[REQUEST_ID_MAX + 1] = "before";

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fields.count = 0;
        put("Accept", "x");
        put("x-REQUEST-id", rows[i].given);
        ck_assert_msg(request_id_read(id, &fields) == rows[i].is_kept, "%s", rows[i].given);
        ck_assert_str_eq(id, rows[i].is_kept ? rows[i].given : "");
    }
}
END_TEST

START_TEST(one_and_of_this_hop)
{
    char id[REQUEST_ID_MAX + 1];

    ck_assert(!request_id_read(id, &fields));
    put("X-Request-Id", "one");
    ck_assert(request_id_read(id, &fields));
    fields.list[0].is_dropped = true; /* named by Connection */
    ck_assert(!request_id_read(id, &fields));
    fields.list[0].is_dropped = false;
    put("X-Request-Id", "one");
    ck_assert(!request_id_read(id, &fields));
    ck_assert_str_eq(id, "");
}
END_TEST

START_TEST(ours_are_random)
{
    enum { COUNT = 3 * REQUEST_ID_BATCH + 1 };
    static char made[COUNT][REQUEST_ID_MAX + 1];
    struct request_ids ids = {.left = 0};

    for (size_t i = 0; i < COUNT; i++) {
        request_id_make(made[i], &ids);
        ck_assert_uint_eq(strlen(made[i]), 2 * REQUEST_ID_BYTES);
        ck_assert_uint_eq(strspn(made[i], "0123456789abcdef"), 2 * REQUEST_ID_BYTES);
        for (size_t j = 0; j < i; j++)
            ck_assert_str_ne(made[i], made[j]);
    }
}
END_TEST

START_TEST(it_takes_the_place_of_what_came)
{
    put("X-Request-Id", "a b");
    put("Accept", "x");
    put("x-request-id", "c");
    request_id_put(&fields, "ours");
    ck_assert_uint_eq(fields.count, 4);
    ck_assert(fields.list[0].is_dropped && !fields.list[1].is_dropped && fields.list[2].is_dropped);
    ck_assert(!fields.list[3].is_dropped);
    ck_assert_mem_eq(fields.list[3].name, "X-Request-Id", fields.list[3].name_len);
    ck_assert_mem_eq(fields.list[3].value, "ours", fields.list[3].value_len);
    ck_assert_uint_eq(fields.list[3].id, FIELD_REQUEST_ID);
}
END_TEST

START_TEST(there_is_room_in_a_full_head)
{
    while (fields.count < HTTP_FIELDS_MAX)
        put("Accept", "x");
    request_id_put(&fields, "ours");
    ck_assert_uint_eq(fields.count, HTTP_FIELDS_MAX + 1);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("request_id");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, the_clients_own_is_kept_when_it_is_harmless);
    tcase_add_test(tcase, one_and_of_this_hop);
    tcase_add_test(tcase, ours_are_random);
    tcase_add_test(tcase, it_takes_the_place_of_what_came);
    tcase_add_test(tcase, there_is_room_in_a_full_head);
    return suite_run("traffic_request_id", tcase);
}
