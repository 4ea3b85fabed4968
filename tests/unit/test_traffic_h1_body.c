/* Tests of h1_body: payload and end of each framing, at one go, byte by byte and cut at every
 * place; which chunk framing is refused; that trailers are bounded and give their memory back. */
#include "traffic/h1_body.h"

#include "support/suite.h"
#include "traffic_h1_fixture.h"

struct reading {
    struct chunk_pool pool;
    struct h1_body body;
    struct http_fields trailers;
    char payload[256];
    size_t payload_len, used;
    enum h1_body_step last;
    enum traffic_reason reason;
};

static void begin(struct reading *r, enum http_framing framing, uint64_t length)
{
    memset(r, 0, sizeof(*r));
    chunk_pool_init(&r->pool, 0, 0);
    h1_body_init(&r->body, &r->pool, framing, length);
}

static void end(struct reading *r)
{
    h1_body_fini(&r->body);
    ck_assert_uint_eq(r->pool.out_count, 0);
    chunk_pool_fini(&r->pool);
}

/* Goes on with n bytes until they are used up or the message is over. */
static void go_on(struct reading *r, const char *bytes, size_t n, size_t payload_max)
{
    size_t at = 0;
    struct h1_piece piece;

    do {
        char *copy = exact_copy(bytes + at, n - at);

        r->last =
            h1_body_run(&r->body, (const uint8_t *)copy, n - at, payload_max, &r->trailers, &piece);
        ck_assert_uint_le(piece.used, n - at);
        if (r->last == H1_STEP_DATA) {
            ck_assert_uint_le(piece.payload_len, payload_max);
            ck_assert_uint_le(r->payload_len + piece.payload_len, sizeof(r->payload));
            memcpy(r->payload + r->payload_len, piece.payload, piece.payload_len);
            r->payload_len += piece.payload_len;
        }
        at += piece.used;
        r->reason = piece.reason;
        free(copy);
    } while (r->last == H1_STEP_DATA);
    ck_assert(r->last != H1_STEP_MORE || at == n);
    r->used += at;
}

static const struct {
    enum http_framing framing;
    uint64_t length;
    const char *bytes; /* all of the message, without what follows it */
    const char *payload;
    unsigned trailers;
} whole[] = {
    {HTTP_NO_BODY, 0, "", "", 0},
    {HTTP_LENGTH, 0, "", "", 0},
    {HTTP_LENGTH, 5, "hello", "hello", 0},
    {HTTP_CHUNKED, 0, "0\r\n\r\n", "", 0},
    {HTTP_CHUNKED, 0, "5\r\nhello\r\n0\r\n\r\n", "hello", 0},
    {HTTP_CHUNKED, 0, "1\r\nh\r\n4\r\nello\r\n000\r\n\r\n", "hello", 0},
    {HTTP_CHUNKED, 0, "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", 0},
    {HTTP_CHUNKED, 0, "5;a\r\nhello\r\n0;b=\"c d\"\r\n\r\n", "hello", 0},
    {HTTP_CHUNKED, 0, "0000000000000005\r\nhello\r\n0\r\n\r\n", "hello", 0},
    {HTTP_CHUNKED, 0, "5\r\n\r\n\r\n0\r\n0\r\n\r\n", "\r\n\r\n0", 0},
    {HTTP_CHUNKED, 0, "0\r\nA: b\r\nC:\r\n\r\n", "", 2},
};

static void check_whole(const struct reading *r, int i)
{
    ck_assert_int_eq(r->last, H1_STEP_END);
    ck_assert_uint_eq(r->used, strlen(whole[i].bytes));
    ck_assert_uint_eq(r->payload_len, strlen(whole[i].payload));
    ck_assert_mem_eq(r->payload, whole[i].payload, r->payload_len);
    ck_assert_uint_eq(r->trailers.count, whole[i].trailers);
    ck_assert_int_eq(r->body.state, H1_BODY_END);
}

START_TEST(bodies_that_are_whole)
{
    static struct reading r;
    const char *bytes = whole[_i].bytes;
    size_t n = strlen(bytes);
    char behind[300];

    snprintf(behind, sizeof(behind), "%sGET / HTTP/1.1\r\n", bytes);
    begin(&r, whole[_i].framing, whole[_i].length); /* with the next request behind it */
    go_on(&r, behind, strlen(behind), 1000);
    check_whole(&r, _i);
    end(&r);
    begin(&r, whole[_i].framing, whole[_i].length);
    go_on(&r, bytes, 0, 1);
    for (size_t i = 0; i < n; i++)
        go_on(&r, bytes + i, 1, 1);
    check_whole(&r, _i);
    end(&r);
    for (size_t cut = 1; cut < n; cut++) {
        begin(&r, whole[_i].framing, whole[_i].length);
        go_on(&r, bytes, cut, 3);
        ck_assert_int_eq(r.last, H1_STEP_MORE);
        go_on(&r, bytes + cut, n - cut, 1000);
        check_whole(&r, _i);
        end(&r);
    }
}
END_TEST

static const struct {
    const char *bytes;
    enum traffic_reason reason;
} refused[] = {
    {"\r\n", REASON_CHUNK_INVALID},
    {";a\r\n", REASON_CHUNK_INVALID},
    {"g\r\n", REASON_CHUNK_INVALID},
    {" 5\r\n", REASON_CHUNK_INVALID},
    {"5 \r\n", REASON_CHUNK_INVALID},
    {"5 ;a\r\n", REASON_CHUNK_INVALID},
    {"-5\r\n", REASON_CHUNK_INVALID},
    {"0x5\r\n", REASON_CHUNK_INVALID},
    {"5\n", REASON_CHUNK_INVALID},
    {"5\r5", REASON_CHUNK_INVALID},
    {"00000000000000000\r\n", REASON_CHUNK_INVALID},
    {"8000000000000000\r\n", REASON_CHUNK_INVALID},
    {"5\r\nhello5", REASON_CHUNK_INVALID},
    {"5\r\nhello\n", REASON_CHUNK_INVALID},
    {"5\r\nhello\r5", REASON_CHUNK_INVALID},
    {"5;\r\n", REASON_CHUNK_EXTENSION},
    {"5; a\r\n", REASON_CHUNK_EXTENSION},
    {"5;a;\r\n", REASON_CHUNK_EXTENSION},
    {"5;a\x01\r\n", REASON_CHUNK_EXTENSION},
    {"5;a\n", REASON_CHUNK_EXTENSION},
    {"0\r\nA\r\n\r\n", REASON_TRAILER_INVALID},
    {"0\r\nA : b\r\n\r\n", REASON_TRAILER_INVALID},
    {"0\r\nA: b\n\r\n", REASON_TRAILER_INVALID},
    {"0\r\n A: b\r\n\r\n", REASON_TRAILER_INVALID},
    {"0\r\n\n", REASON_TRAILER_INVALID},
};

START_TEST(chunk_framing_that_is_refused)
{
    static struct reading r;
    size_t n = strlen(refused[_i].bytes);

    begin(&r, HTTP_CHUNKED, 0);
    go_on(&r, refused[_i].bytes, n, 1000);
    ck_assert_int_eq(r.last, H1_STEP_BAD);
    ck_assert_msg(r.reason == refused[_i].reason, "%s: %s", refused[_i].bytes,
                  traffic_reason_word(r.reason));
    end(&r);
    begin(&r, HTTP_CHUNKED, 0);
    r.last = H1_STEP_MORE;
    for (size_t i = 0; i < n && r.last != H1_STEP_BAD; i++)
        go_on(&r, refused[_i].bytes + i, 1, 1);
    ck_assert_int_eq(r.last, H1_STEP_BAD);
    end(&r);
}
END_TEST

START_TEST(extensions_are_bounded_over_all_chunks)
{
    static struct reading r;

    begin(&r, HTTP_CHUNKED, 0);
    for (unsigned i = 0; i < H1_EXTENSION_BYTES / 4; i++) { /* ";abc" each */
        r.payload_len = 0;
        go_on(&r, "1;abc\r\nx\r\n", 10, 10);
        ck_assert_int_eq(r.last, H1_STEP_MORE);
    }
    go_on(&r, "1;a", 3, 10);
    ck_assert_int_eq(r.last, H1_STEP_BAD);
    ck_assert_int_eq(r.reason, REASON_CHUNK_EXTENSION);
    end(&r);
}
END_TEST

START_TEST(trailers_are_bounded)
{
    static struct reading r;

    begin(&r, HTTP_CHUNKED, 0);
    go_on(&r, "0\r\n", 3, 10);
    for (unsigned i = 0; i < H1_TRAILER_BYTES && r.last == H1_STEP_MORE; i++)
        go_on(&r, i % 64 == 62 ? "\r" : i % 64 == 63 ? "\n" : i % 64 == 1 ? ":" : "a", 1, 10);
    ck_assert_int_eq(r.last, H1_STEP_BAD);
    ck_assert_int_eq(r.reason, REASON_TRAILER_TOO_LARGE);
    ck_assert_uint_eq(r.pool.out_count, 1);
    end(&r);
}
END_TEST

START_TEST(without_memory_for_trailers_it_fails)
{
    static struct reading r;
    struct chunk *taken;

    begin(&r, HTTP_CHUNKED, 0);
    r.pool.cap = 1;
    taken = chunk_take(&r.pool);
    go_on(&r, "0\r\nA", 4, 10);
    ck_assert_int_eq(r.last, H1_STEP_BAD);
    ck_assert_int_eq(r.reason, REASON_NO_MEMORY);
    chunk_give(&r.pool, taken);
    end(&r);
}
END_TEST

START_TEST(the_end_of_the_connection)
{
    static struct reading r;

    begin(&r, HTTP_UNTIL_CLOSE, 0);
    go_on(&r, "hello", 5, 10);
    ck_assert(h1_body_eof(&r.body));
    end(&r);
    begin(&r, HTTP_LENGTH, 6);
    go_on(&r, "hello", 5, 10);
    ck_assert(!h1_body_eof(&r.body));
    end(&r);
    begin(&r, HTTP_CHUNKED, 0);
    go_on(&r, "5\r\nhello\r\n0\r\n", 13, 10);
    ck_assert(!h1_body_eof(&r.body));
    end(&r);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("bodies");

    tcase_add_loop_test(tcase, bodies_that_are_whole, 0, ARRAY_LEN(whole));
    tcase_add_loop_test(tcase, chunk_framing_that_is_refused, 0, ARRAY_LEN(refused));
    tcase_add_test(tcase, extensions_are_bounded_over_all_chunks);
    tcase_add_test(tcase, trailers_are_bounded);
    tcase_add_test(tcase, without_memory_for_trailers_it_fails);
    tcase_add_test(tcase, the_end_of_the_connection);
    return suite_run("traffic/h1_body", tcase);
}
