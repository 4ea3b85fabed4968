/* Tests of http_head: known fields and their disguises, lists, what Connection may do, trailers;
 * and of traffic_reason's table. */
#include "traffic/http_head.h"

#include "support/suite.h"
#include "traffic_h1_fixture.h"

static struct http_text text(const char *s)
{
    return (struct http_text){s, strlen(s)};
}

static const struct {
    const char *name;
    enum http_field_id id;
} names[] = {
    {"Host", FIELD_HOST},
    {"content-LENGTH", FIELD_CONTENT_LENGTH},
    {"Transfer-Encoding", FIELD_TRANSFER_ENCODING},
    {"TE", FIELD_TE},
    {"Forwarded", FIELD_FORWARDED},
    {"X-Forwarded-For", FIELD_FORWARDED},
    {"x-forwarded-anything-else", FIELD_FORWARDED},
    {"X-Forwarded", FIELD_FORWARDED},
    {"X-Real-IP", FIELD_FORWARDED},
    {"X_Forwarded_For", FIELD_LOOKALIKE},
    {"X-Forwarded_For", FIELD_FORWARDED},
    {"x.forwarded.for", FIELD_LOOKALIKE},
    {"X_REAL_IP", FIELD_LOOKALIKE},
    {"Content_Length", FIELD_LOOKALIKE},
    {"transfer~encoding", FIELD_LOOKALIKE},
    {"Proxy", FIELD_PROXY},
    {"Proxy-Connection", FIELD_PROXY_CONNECTION},
    {"X-Forward", FIELD_OTHER},
    {"X_Own", FIELD_OTHER},
    {"Content_Type", FIELD_OTHER},
    {"Hos", FIELD_OTHER},
    {"Hosts", FIELD_OTHER},
    {"X-Request-ID", FIELD_REQUEST_ID},
    {"X_Request_Id", FIELD_LOOKALIKE},
    {"X-Request-Ids", FIELD_OTHER},
    {"Traceparent", FIELD_OTHER},
    {"Cookie", FIELD_NO_TRAILER},
    {"date", FIELD_DATE},
    {"vary", FIELD_NO_TRAILER},
    {"range", FIELD_NO_TRAILER},
    {"expect", FIELD_EXPECT},
    {"trailer", FIELD_TRAILER},
    {"upgrade", FIELD_UPGRADE},
    {"location", FIELD_NO_TRAILER},
    {"connection", FIELD_CONNECTION},
    {"keep-alive", FIELD_KEEP_ALIVE},
    {"set-cookie", FIELD_NO_TRAILER},
    {"content-type", FIELD_NO_TRAILER},
    {"max-forwards", FIELD_NO_TRAILER},
    {"authorization", FIELD_AUTHORIZATION},
    {"content-range", FIELD_NO_TRAILER},
    {"cache-control", FIELD_NO_TRAILER},
    {"http2-settings", FIELD_HTTP2_SETTINGS},
    {"content-encoding", FIELD_NO_TRAILER},
    {"www-authenticate", FIELD_NO_TRAILER},
    {"proxy-authenticate", FIELD_NO_TRAILER},
    {"proxy-authorization", FIELD_NO_TRAILER},
    {"a_very_long_name_that_is_none_of_those_that_we_know", FIELD_OTHER},
};

START_TEST(fields_are_known_by_name)
{
    ck_assert_msg(http_field_id_of(text(names[_i].name)) == names[_i].id, "%s", names[_i].name);
}
END_TEST

/* Every byte at every place of values of every length, beside one that is looked at bytewise: eight
 * are looked at at once. */
START_TEST(the_first_byte_that_no_value_holds_is_found)
{
    char value[27];

    for (size_t n = 0; n <= sizeof(value); n++) {
        const char *end = value + n;

        memset(value, 'v', sizeof(value));
        ck_assert_ptr_eq(http_value_end(value, end), end);
        for (size_t at = 0; at < n; at++)
            for (unsigned byte = 0; byte < 256; byte++) {
                const char *expect =
                    byte == '\t' || (byte >= ' ' && byte != 0x7f) ? end : value + at;

                memset(value, 'v', sizeof(value));
                value[at] = (char)byte;
                ck_assert_msg(http_value_end(value, end) == expect, "%u at %zu of %zu", byte, at,
                              n);
                value[0] = at > 0 ? '\t' : value[0]; /* the rest is looked at bytewise */
                ck_assert_msg(http_value_end(value, end) == expect, "%u at %zu of %zu", byte, at,
                              n);
            }
    }
}
END_TEST

START_TEST(lists_are_walked)
{
    struct http_text rest = text(" a ,,b\t,  , c d ,"), element;

    ck_assert(http_list_next(&rest, &element) && text_is(element, "a"));
    ck_assert(http_list_next(&rest, &element) && text_is(element, "b"));
    ck_assert(http_list_next(&rest, &element) && text_is(element, "c d"));
    ck_assert(!http_list_next(&rest, &element));
    rest = text(" , ,");
    ck_assert(!http_list_next(&rest, &element));
    rest = text("");
    ck_assert(!http_list_next(&rest, &element));
}
END_TEST

static void add(struct http_fields *fields, const char *name, const char *value)
{
    struct http_field *f = &fields->list[fields->count++];

    *f = (struct http_field){.name = name,
                             .value = value,
                             .name_len = (uint16_t)strlen(name),
                             .value_len = (uint16_t)strlen(value),
                             .id = (uint8_t)http_field_id_of(text(name))};
}

START_TEST(connection_drops_what_it_names)
{
    static struct http_fields fields;
    struct http_connection c;

    fields.count = 0;
    add(&fields, "X-A", "1");
    add(&fields, "Connection", "close, x-a");
    add(&fields, "X-B", "2");
    add(&fields, "connection", "Upgrade ,TE");
    add(&fields, "x-A", "3");
    add(&fields, "Keep-Alive", "timeout=5");
    add(&fields, "Cookie", "a=b");
    ck_assert_int_eq(http_connection_apply(&fields, &c), REASON_NONE);
    ck_assert(c.has_close && c.has_upgrade && c.has_te && !c.has_keep_alive);
    ck_assert(fields.list[0].is_dropped && fields.list[4].is_dropped);
    ck_assert(fields.list[1].is_dropped && fields.list[3].is_dropped && fields.list[5].is_dropped);
    ck_assert(!fields.list[2].is_dropped && !fields.list[6].is_dropped);
}
END_TEST

START_TEST(connection_does_not_take_what_must_stay)
{
    static const char *const kept[] = {"Host",
                                       "Content-Length",
                                       "Transfer-Encoding",
                                       "Expect",
                                       "Forwarded",
                                       "X-Forwarded-For",
                                       "Authorization",
                                       "Cookie",
                                       "Date",
                                       "x_forwarded_for",
                                       "a b",
                                       "a\"b"};
    static struct http_fields fields;
    struct http_connection c;

    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        fields.count = 0;
        add(&fields, "Connection", kept[i]);
        ck_assert_msg(http_connection_apply(&fields, &c) == REASON_CONNECTION_INVALID, "%s",
                      kept[i]);
    }
}
END_TEST

START_TEST(what_must_not_be_a_trailer)
{
    static struct http_fields fields;

    fields.count = 0;
    add(&fields, "X-Checksum", "1");
    add(&fields, "Content-Length", "1");
    add(&fields, "Set-Cookie", "1");
    add(&fields, "X-Forwarded-For", "1");
    add(&fields, "Host", "1");
    http_trailers_filter(&fields);
    ck_assert(!fields.list[0].is_dropped);
    for (unsigned i = 1; i < fields.count; i++)
        ck_assert_msg(fields.list[i].is_dropped, "%s", fields.list[i].name);
}
END_TEST

START_TEST(every_reason_has_a_word_and_every_status_a_phrase)
{
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        unsigned status = traffic_reason_status((enum traffic_reason)i);

        ck_assert_str_ne(traffic_reason_word((enum traffic_reason)i), "");
        ck_assert(status == 0 || (status >= 400 && status < 600));
        ck_assert_msg(status == 0 || *http_status_phrase(status), "%u", status);
        for (unsigned j = 0; j < i; j++)
            ck_assert_str_ne(traffic_reason_word((enum traffic_reason)i),
                             traffic_reason_word((enum traffic_reason)j));
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("fields");

    tcase_add_loop_test(tcase, fields_are_known_by_name, 0, ARRAY_LEN(names));
    tcase_add_test(tcase, the_first_byte_that_no_value_holds_is_found);
    tcase_add_test(tcase, lists_are_walked);
    tcase_add_test(tcase, connection_drops_what_it_names);
    tcase_add_test(tcase, connection_does_not_take_what_must_stay);
    tcase_add_test(tcase, what_must_not_be_a_trailer);
    tcase_add_test(tcase, every_reason_has_a_word_and_every_status_a_phrase);
    return suite_run("traffic/http_head", tcase);
}
