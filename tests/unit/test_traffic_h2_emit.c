/* Tests of h2_emit: the fields of an answer, in their order. */
#include "traffic/h2_emit.h"

#include "support/suite.h"
#include "traffic_h1_fixture.h"

static struct h2_fields fields;
static struct http_response response;

static void add(const char *name, const char *value, bool is_dropped)
{
    response.fields.list[response.fields.count++] =
        (struct http_field){.name = name,
                            .value = value,
                            .name_len = (uint16_t)strlen(name),
                            .value_len = (uint16_t)strlen(value),
                            .is_dropped = is_dropped};
}

static const char *lines(void)
{
    static char text[1024];
    size_t n = 0;

    for (size_t i = 0; i < fields.count; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s=%.*s\n",
                              (int)fields.list[i].namelen, fields.list[i].name,
                              (int)fields.list[i].valuelen, fields.list[i].value);
    return text;
}

START_TEST(an_answer)
{
    response = (struct http_response){.status = 200, .framing = HTTP_LENGTH, .length = 1234};
    response.fields.count = 0;
    add("X-A", "b", false);
    add("Connection", "close", true);
    h2_fields_response(&fields, &response,
                       &(struct h2_answer){.version_header = "v", .version = "1", .date = "now"});
    ck_assert_str_eq(lines(), ":status=200\nX-A=b\ndate=now\nv=1\ncontent-length=1234\n");
    response.has_date = true;
    response.framing = HTTP_CHUNKED;
    h2_fields_response(&fields, &response, &(struct h2_answer){.date = "now"});
    ck_assert_str_eq(lines(), ":status=200\nX-A=b\n");
    h2_fields_trailers(&fields, &response.fields);
    ck_assert_str_eq(lines(), "X-A=b\n");
}
END_TEST

START_TEST(a_switch_of_protocols_is_a_200)
{
    response = (struct http_response){.status = 101, .framing = HTTP_NO_BODY};
    response.fields.count = 0;
    add("Sec-WebSocket-Accept", "x", false);
    add("Sec-WebSocket-Protocol", "chat", false);
    h2_fields_response(&fields, &response, &(struct h2_answer){0});
    ck_assert_str_eq(lines(), ":status=200\nSec-WebSocket-Protocol=chat\n");
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("fields");

    tcase_add_test(tcase, an_answer);
    tcase_add_test(tcase, a_switch_of_protocols_is_a_200);
    return suite_run("traffic/h2_emit", tcase);
}
