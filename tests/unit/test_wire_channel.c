/* Tests of wire/channel: the header of a message on the control stream of a QUIC lane. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support/suite.h"
#include "wire/channel.h"

/* The table once more, as api/tunnel.md has it.  header 0: does not exist on a control stream. */
static const struct {
    uint8_t type;
    unsigned header;
    uint32_t min, max; /* of the payload, without a session's id */
} table[] = {
    {0x01, 0, 1, 107},   {0x02, 0, 0, 65536}, {0x03, 0, 0, 1},      {0x04, 0, 0, 65536},
    {0x05, 0, 0, 1},     {0x06, 5, 2, 65536}, {0x07, 5, 8, 8},      {0x08, 5, 8, 8},
    {0x09, 0, 4, 4},     {0x0a, 0, 4, 4},     {0x0b, 9, 28, 65536}, {0x0c, 0, 0, 65536},
    {0x0d, 0, 0, 65536}, {0x0e, 9, 0, 1},     {0x0f, 5, 2, 65536},  {0x10, 5, 2, 65536},
    {0x11, 5, 2, 65536},
};

static void put_u32(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* In a block of its own, so that ASan sees a read past what is there. */
static int parse(struct frame *f, const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    int got;

    ck_assert_ptr_nonnull(copy);
    if (n > 0)
        memcpy(copy, bytes, n);
    *f = (struct frame){0};
    got = channel_parse(f, copy, n);
    free(copy);
    return got;
}

/* `len` as it stands in the header. */
static const char *fault_of(uint8_t type, uint32_t len, uint32_t id)
{
    uint8_t bytes[CHANNEL_HEADER_MAX] = {type};
    struct frame f;
    const char *fault;
    int got;

    put_u32(bytes + 1, len);
    put_u32(bytes + 5, id);
    got = parse(&f, bytes, sizeof(bytes));
    ck_assert_uint_eq(f.type, type);
    fault = channel_fault(&f);
    if (got > 0)
        ck_assert_ptr_null(fault);
    else
        ck_assert_int_eq(got, -ERR_PROTO);
    return got > 0 ? NULL : fault ? fault : "?";
}

/* What is emitted is what the page says, and is read again, cut anywhere. */
static void assert_round(uint8_t type, unsigned header, uint32_t id, uint32_t len)
{
    uint8_t bytes[CHANNEL_HEADER_MAX], want[CHANNEL_HEADER_MAX] = {type};
    struct frame f;

    put_u32(want + 1, header == 9 ? len + 4 : len);
    put_u32(want + 5, id);
    ck_assert_uint_eq(channel_emit(bytes, id, (enum frame_type)type, len), header);
    ck_assert_mem_eq(bytes, want, header);
    for (size_t n = 0; n < header; n++)
        ck_assert_int_eq(parse(&f, bytes, n), 0);
    ck_assert_int_eq(parse(&f, bytes, header), (int)header);
    ck_assert_uint_eq(f.type, type);
    ck_assert_uint_eq(f.len, len);
    ck_assert_uint_eq(f.stream, id);
    ck_assert_ptr_null(channel_fault(&f));
}

START_TEST(each_type_is_what_the_table_says)
{
    uint8_t type = table[_i].type;
    unsigned header = table[_i].header, more = header == 9 ? 4 : 0;
    uint32_t id = header == 9 ? 0xfedcba98 : 0;

    if (header == 0) {
        ck_assert_str_eq(fault_of(type, table[_i].min, 7), "not_on_channel");
        ck_assert_str_eq(fault_of(type, table[_i].max, 0), "not_on_channel");
        return;
    }
    assert_round(type, header, id, table[_i].min);
    assert_round(type, header, id, table[_i].max);
    if (table[_i].min > 0)
        ck_assert_str_eq(fault_of(type, table[_i].min - 1 + more, id), "bad_length");
    ck_assert_str_eq(fault_of(type, table[_i].max + 1 + more, id),
                     table[_i].max == FRAME_PAYLOAD_MAX ? "oversized" : "bad_length");
    ck_assert_str_eq(fault_of(type, 0xffffffff, id), "oversized");
    ck_assert_str_eq(fault_of(type, 0x80000000, id), "oversized");
    if (header == 9)
        ck_assert_str_eq(fault_of(type, table[_i].min + more, 0), "stream_frame_on_0");
}
END_TEST

START_TEST(every_other_type_is_unknown)
{
    for (unsigned type = 0; type < 256; type++)
        if (type < 0x01 || type > 0x11)
            ck_assert_str_eq(fault_of((uint8_t)type, 8, 1), "unknown_type");
}
END_TEST

/* Shorter than the id that must be in it: refused at once, nothing is waited for. */
START_TEST(a_message_without_room_for_its_id_is_refused)
{
    for (uint32_t len = 0; len < 4; len++) {
        for (unsigned type = FRAME_UDP_OPEN; type <= FRAME_UDP_CLOSE;
             type += FRAME_UDP_CLOSE - FRAME_UDP_OPEN) {
            uint8_t bytes[CHANNEL_HEADER_MIN] = {(uint8_t)type};
            struct frame f;

            put_u32(bytes + 1, len);
            ck_assert_int_eq(parse(&f, bytes, sizeof(bytes)), -ERR_PROTO);
            ck_assert_ptr_nonnull(channel_fault(&f));
        }
    }
}
END_TEST

/* A fault that the first five bytes show needs no more of them. */
START_TEST(five_bytes_are_enough_to_refuse)
{
    static const uint8_t unknown[5] = {0xff, 0, 0, 0, 8}, data[5] = {0x02, 0, 0, 0, 8},
                         oversized[5] = {0x06, 0, 1, 0, 1};
    struct frame f;

    ck_assert_int_eq(parse(&f, unknown, 5), -ERR_PROTO);
    ck_assert_int_eq(parse(&f, data, 5), -ERR_PROTO);
    ck_assert_int_eq(parse(&f, oversized, 5), -ERR_PROTO);
}
END_TEST

START_TEST(what_is_not_legal_is_never_emitted)
{
    static const struct {
        uint32_t id;
        enum frame_type type;
        uint32_t len;
    } bad[] = {{0, FRAME_DATA, 1},     {1, FRAME_OPEN, 40},      {0, FRAME_UDP_CLOSE, 1},
               {3, FRAME_CONFIG, 100}, {0, FRAME_CONFIG, 65537}, {0, FRAME_PING, 7}};
    uint8_t out[CHANNEL_HEADER_MAX];

    channel_emit(out, bad[_i].id, bad[_i].type, bad[_i].len);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_loop_test(tc, each_type_is_what_the_table_says, 0, (int)ARRAY_LEN(table));
    tcase_add_test(tc, every_other_type_is_unknown);
    tcase_add_test(tc, a_message_without_room_for_its_id_is_refused);
    tcase_add_test(tc, five_bytes_are_enough_to_refuse);
    tcase_add_loop_test_raise_signal(tc, what_is_not_legal_is_never_emitted, SIGABRT, 0, 6);
    return suite_run("wire channel", tc);
}
