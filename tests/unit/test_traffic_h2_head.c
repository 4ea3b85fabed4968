/* Tests of h2_head: which sections of fields are requests, what they say, and the exact reason why
 * others are not. */
#include "traffic/h2_head.h"

#include "support/suite.h"
#include "traffic_h1_fixture.h"

#define GET ":method\0GET\0:scheme\0https\0:authority\0a.test\0:path\0/p\0"

static struct h2_head head;
static struct http_request request;
static const struct h2_websocket websocket = {"key", "accept"};

/* Name and value in turn, each ended by NUL; an empty name ends it. */
static bool add_all(const char *texts)
{
    while (*texts) {
        struct http_text name = {texts, strlen(texts)}, value = {texts + name.n + 1, 0};

        value.n = strlen(value.p);
        if (!h2_head_add(&head, name, value, &fixture_limits))
            return false;
        texts = value.p + value.n + 1;
    }
    return true;
}

static enum traffic_reason parse(const char *texts, bool ended)
{
    h2_head_fini(&head);
    ck_assert(add_all(texts));
    return h2_head_request(&head, &request, ended, &websocket);
}

static const struct http_field *field(const char *name)
{
    for (unsigned i = 0; i < request.fields.count; i++) {
        const struct http_field *f = &request.fields.list[i];

        if (!f->is_dropped && text_is((struct http_text){f->name, f->name_len}, name))
            return f;
    }
    return NULL;
}

START_TEST(what_it_says)
{
    const struct http_field *f;

    ck_assert_int_eq(
        parse(GET "x-a\0b\0cookie\0a=1\0te\0trailers\0cookie\0b=2\0x-c\0d\0cookie\0c\0", true),
        REASON_NONE);
    ck_assert(text_is(request.method, "GET"));
    ck_assert(text_is(request.target, "/p"));
    ck_assert(text_is(request.authority, "a.test"));
    ck_assert_int_eq(request.framing, HTTP_NO_BODY);
    ck_assert(request.takes_trailers && request.is_idempotent && !request.is_head);
    f = field("cookie");
    ck_assert_ptr_nonnull(f);
    ck_assert(text_is((struct http_text){f->value, f->value_len}, "a=1; b=2; c"));
    ck_assert_uint_eq(request.fields.count, 4);
    ck_assert_int_eq(parse(GET, false), REASON_NONE);
    ck_assert_int_eq(request.framing, HTTP_CHUNKED);
    ck_assert_int_eq(parse(GET "content-length\0007\0", false), REASON_NONE);
    ck_assert_int_eq(request.framing, HTTP_LENGTH);
    ck_assert_uint_eq(request.length, 7);
    ck_assert_int_eq(parse(GET "content-length\0000\0", true), REASON_NONE);
    ck_assert_int_eq(parse(":method\0GET\0:scheme\0https\0:path\0/\0host\0b.test\0", true),
                     REASON_NONE);
    ck_assert(text_is(request.authority, "b.test"));
}
END_TEST

START_TEST(long_crumbs_are_joined)
{
    char crumb[1000], texts[8000];
    size_t n = sizeof(GET) - 1;
    const struct http_field *f;

    memset(crumb, 'c', sizeof(crumb));
    memcpy(texts, GET, n);
    for (unsigned i = 0; i < 3; i++) {
        memcpy(texts + n, "cookie", 7);
        memcpy(texts + n + 7, crumb, sizeof(crumb));
        texts[n + 7 + sizeof(crumb)] = '\0';
        n += 8 + sizeof(crumb);
    }
    texts[n] = '\0';
    ck_assert_int_eq(parse(texts, true), REASON_NONE);
    f = field("cookie");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(f->value_len, 3 * sizeof(crumb) + 4);
    ck_assert_mem_eq(f->value + sizeof(crumb), "; ccc", 5);
}
END_TEST

static const struct {
    const char *texts;
    enum traffic_reason reason;
} refused[] = {
    {"", REASON_BAD_METHOD},
    {":method\0GET\0:scheme\0https\0:authority\0a.test\0", REASON_BAD_TARGET},
    {":method\0GET\0:scheme\0https\0:path\0/\0", REASON_HOST_MISSING},
    {":method\0GET\0:authority\0a.test\0:path\0/\0", REASON_BAD_TARGET},
    {":method\0GET\0:scheme\0http\0:authority\0a.test\0:path\0/\0", REASON_BAD_TARGET},
    {":method\0GET\0:scheme\0https\0:authority\0a.test\0:path\0/ b\0", REASON_BAD_TARGET},
    {":method\0GET\0:scheme\0https\0:authority\0a.test\0:path\0b\0", REASON_BAD_TARGET},
    {":method\0GET\0:scheme\0https\0:authority\0a.test\0:path\0*\0", REASON_BAD_TARGET},
    {":method\0GET\0:scheme\0https\0:authority\0a.test\0:path\0/#b\0", REASON_BAD_TARGET},
    {":method\0GET\0:scheme\0https\0:authority\0u@a.test\0:path\0/\0", REASON_HOST_INVALID},
    {":method\0G T\0:scheme\0https\0:authority\0a.test\0:path\0/\0", REASON_BAD_METHOD},
    {":method\0get\0:scheme\0https\0:authority\0a.test\0:path\0/\0", REASON_METHOD_UNKNOWN},
    {":method\0CONNECT\0:authority\0a.test:1\0", REASON_METHOD_REFUSED},
    {GET ":path\0/b\0", REASON_BAD_REQUEST_LINE},
    {GET ":authority\0b\0", REASON_HOST_DUPLICATE},
    {GET ":evil\0b\0", REASON_BAD_FIELD_NAME},
    {GET ":status\000200\0", REASON_BAD_FIELD_NAME},
    {GET "x\0y\0:path\0/b\0", REASON_BAD_FIELD_NAME},
    {GET "host\0b.test\0", REASON_HOST_MISMATCH},
    {GET "host\0a.test\0host\0a.test\0", REASON_HOST_DUPLICATE},
    {GET "X-A\0b\0", REASON_BAD_FIELD_NAME},
    {GET "x a\0b\0", REASON_BAD_FIELD_NAME},
    {GET "x:a\0b\0", REASON_BAD_FIELD_NAME},
    {GET "x\0a\nb\0", REASON_BAD_FIELD_VALUE},
    {GET "x\0a\rb\0", REASON_BAD_FIELD_VALUE},
    {GET "x\0a\x01\0", REASON_BAD_FIELD_VALUE},
    {GET "transfer-encoding\0chunked\0", REASON_CONNECTION_INVALID},
    {GET "connection\0close\0", REASON_CONNECTION_INVALID},
    {GET "keep-alive\0x\0", REASON_CONNECTION_INVALID},
    {GET "proxy-connection\0x\0", REASON_CONNECTION_INVALID},
    {GET "upgrade\0h2c\0", REASON_CONNECTION_INVALID},
    {GET "te\0gzip\0", REASON_CONNECTION_INVALID},
    {GET "content-length\0005\0", REASON_LENGTH_INVALID}, /* the request has ended */
    {GET "content-length\0+0\0", REASON_LENGTH_INVALID},
    {GET "content-length\0000\0content-length\0000\0", REASON_LENGTH_DUPLICATE},
    {GET "expect\0what\0", REASON_EXPECT_UNKNOWN},
    {GET ":protocol\0websocket\0", REASON_BAD_METHOD},
};

START_TEST(what_is_refused)
{
    ck_assert_int_eq(parse(refused[_i].texts, true), refused[_i].reason);
}
END_TEST

START_TEST(a_websocket)
{
#define CONNECT(protocol)                                                                          \
    ":method\0CONNECT\0:protocol\0" protocol "\0:scheme\0https\0:authority\0a.test\0:path\0/c\0"
    const struct http_field *f;

    ck_assert_int_eq(parse(CONNECT("websocket") "sec-websocket-key\0evil\0", false), REASON_NONE);
    ck_assert(text_is(request.method, "GET"));
    ck_assert(text_is(request.upgrade, "websocket"));
    ck_assert(text_is(request.websocket_accept, "accept"));
    ck_assert_int_eq(request.framing, HTTP_NO_BODY);
    ck_assert_ptr_null(field("sec-websocket-key"));
    f = field("Sec-WebSocket-Key");
    ck_assert(f && text_is((struct http_text){f->value, f->value_len}, "key"));
    ck_assert_ptr_nonnull(field("Sec-WebSocket-Version"));
    ck_assert_int_eq(parse(CONNECT("websocket") "sec-websocket-version\00013\0", false),
                     REASON_NONE);
    ck_assert_ptr_null(field("Sec-WebSocket-Version"));
    ck_assert_int_eq(parse(CONNECT("connect-udp"), false), REASON_UPGRADE_UNKNOWN);
    ck_assert_int_eq(parse(CONNECT("websocket") "content-length\0005\0", false),
                     REASON_LENGTH_INVALID);
}
END_TEST

START_TEST(limits)
{
    char value[17000];
    struct http_text name = {"x", 1}, long_value = {value, sizeof(value)};

    memset(value, 'v', sizeof(value));
    h2_head_fini(&head);
    ck_assert(add_all(GET));
    ck_assert(h2_head_add(&head, name, long_value, &fixture_limits));
    ck_assert_int_eq(h2_head_request(&head, &request, true, &websocket), REASON_HEADER_TOO_LARGE);
    ck_assert(text_is(request.method, "GET")); /* for the log */
    for (unsigned i = 0; i < 2; i++)
        ck_assert(h2_head_add(&head, name, long_value, &fixture_limits));
    ck_assert(!h2_head_add(&head, name, long_value, &fixture_limits));
    ck_assert_uint_le(head.text.len, fixture_limits.head_bytes);

    h2_head_fini(&head);
    ck_assert(add_all(GET));
    for (unsigned i = 0; i < 100; i++)
        ck_assert(h2_head_add(&head, name, name, &fixture_limits));
    ck_assert_int_eq(h2_head_request(&head, &request, true, &websocket), REASON_NONE);
    ck_assert(h2_head_add(&head, name, name, &fixture_limits));
    ck_assert_int_eq(h2_head_request(&head, &request, true, &websocket), REASON_TOO_MANY_FIELDS);
}
END_TEST

START_TEST(trailers)
{
    static struct http_fields out;

    h2_head_fini(&head);
    ck_assert(add_all("x-a\0b\0x-c\0d\0"));
    ck_assert_int_eq(h2_head_trailers(&head, &out, 4096), REASON_NONE);
    ck_assert_uint_eq(out.count, 2);
    ck_assert_int_eq(h2_head_trailers(&head, &out, 70), REASON_TRAILER_TOO_LARGE);
    ck_assert(add_all(":path\0/\0"));
    ck_assert_int_eq(h2_head_trailers(&head, &out, 4096), REASON_TRAILER_INVALID);
}
END_TEST

static void clean(void)
{
    h2_head_fini(&head);
}

int main(void)
{
    TCase *tcase = tcase_create("heads");

    tcase_add_checked_fixture(tcase, NULL, clean);
    tcase_add_test(tcase, what_it_says);
    tcase_add_test(tcase, long_crumbs_are_joined);
    tcase_add_loop_test(tcase, what_is_refused, 0, ARRAY_LEN(refused));
    tcase_add_test(tcase, a_websocket);
    tcase_add_test(tcase, limits);
    tcase_add_test(tcase, trailers);
    return suite_run("traffic/h2_head", tcase);
}
