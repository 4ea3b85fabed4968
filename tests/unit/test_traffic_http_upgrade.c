/* Tests of traffic/http_upgrade: which 101 is the answer to what was asked for. */
#include "traffic/http_upgrade.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "support/suite.h"

static struct http_text text(const char *s)
{
    return (struct http_text){s, strlen(s)};
}

static const struct {
    const char *asked, *answered;
    bool is_right;
} switches[] = {
    {"websocket", "websocket", true},
    {"websocket", "WebSocket", true},
    {"foo, websocket", "websocket", true},
    {"foo, websocket", "websocket, foo", true},
    {"websocket", "h2c", false},
    {"websocket", "websocket, h2c", false},
    {"websocket", "web", false},
    {"websocket", "", false},
    {"", "websocket", false},
    {"", "", false},
};

START_TEST(only_what_was_asked_for)
{
    struct http_upgrade u = {0};
    struct http_request r = {.upgrade = text(switches[_i].asked)};
    struct http_response answer = {.status = 101, .upgrade = text(switches[_i].answered)};

    http_upgrade_note(&u, &r);
    ck_assert_int_eq(http_upgrade_is_asked(&u), switches[_i].asked[0] != '\0');
    ck_assert_int_eq(http_upgrade_is_answered(&u, &answer), switches[_i].is_right);
}
END_TEST

static const struct {
    const char *name, *value;
    bool is_right;
} accepts[] = {
    {"sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", true},
    {"Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", true},
    {"sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo", false},
    {"sec-websocket-accept", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", false},
    {"sec-websocket-accept", "", false},
    {"x-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", false},
};

START_TEST(the_key_is_answered)
{
    struct http_upgrade u = {0};
    struct http_request r = {.upgrade = text("websocket"),
                             .websocket_accept = text("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")};
    struct http_response answer = {.status = 101, .upgrade = text("websocket")};
    struct http_field *field = &answer.fields.list[0];

    field->name = accepts[_i].name;
    field->name_len = (uint16_t)strlen(field->name);
    field->value = accepts[_i].value;
    field->value_len = (uint16_t)strlen(field->value);
    answer.fields.count = 1;
    http_upgrade_note(&u, &r);
    ck_assert_int_eq(http_upgrade_is_answered(&u, &answer), accepts[_i].is_right);
    r.websocket_accept.n = 0; /* the client has a key of its own, and looks for itself */
    http_upgrade_note(&u, &r);
    ck_assert(http_upgrade_is_answered(&u, &answer));
}
END_TEST

/* One request behind another on a connection. */
START_TEST(nothing_is_left_of_the_one_before)
{
    struct http_upgrade u = {0};
    struct http_response answer = {.status = 101, .upgrade = text("websocket")};

    http_upgrade_note(&u, &(struct http_request){.upgrade = text("websocket"),
                                                 .websocket_accept = text("s3pPLMBiTx")});
    http_upgrade_note(&u, &(struct http_request){0});
    ck_assert(!http_upgrade_is_asked(&u));
    ck_assert(!http_upgrade_is_answered(&u, &answer));
    ck_assert_str_eq(u.accept, "");
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("all");

    tcase_add_loop_test(tcase, only_what_was_asked_for, 0, ARRAY_LEN(switches));
    tcase_add_loop_test(tcase, the_key_is_answered, 0, ARRAY_LEN(accepts));
    tcase_add_test(tcase, nothing_is_left_of_the_one_before);
    return suite_run("traffic/http_upgrade", tcase);
}
