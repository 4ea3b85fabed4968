/* stun - see stun.h.  Sections are those of RFC 8489. */
#include "wire/stun.h"

#include <string.h>

#include "base/err.h"

#define HEADER_BYTES    20u
#define COOKIE          0x2112a442u
#define FINGERPRINT_XOR 0x5354554eu
#define LAST_WAIT       16u /* Rm */

enum message {
    BINDING_REQUEST = 0x0001,
    BINDING_SUCCESS = 0x0101,
    BINDING_ERROR = 0x0111,
};

enum attribute {
    MAPPED_ADDRESS = 0x0001,
    MESSAGE_INTEGRITY = 0x0008,
    ERROR_CODE = 0x0009,
    REFLECTED_FROM = 0x000b, /* the last one of RFC 3489 */
    REALM = 0x0014,
    NONCE = 0x0015,
    INTEGRITY_SHA256 = 0x001c,
    XOR_MAPPED_ADDRESS = 0x0020,
    OPTIONAL = 0x8000, /* from here on an attribute may be passed over */
    ALTERNATE_SERVER = 0x8023,
    FINGERPRINT = 0x8028,
};

enum { FAMILY_IPV4 = 1, FAMILY_IPV6 = 2 };

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value);
}

/* Section 14.7: the CRC-32 of ITU V.42 over all that stands before the attribute. */
static uint32_t fingerprint_of(const uint8_t *src, size_t n)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < n; i++) {
        crc ^= src[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc ^ FINGERPRINT_XOR;
}

void stun_request_emit(uint8_t out[STUN_REQUEST_BYTES], const uint8_t id[STUN_ID_BYTES])
{
    put16(out, BINDING_REQUEST);
    put16(out + 2, STUN_REQUEST_BYTES - HEADER_BYTES);
    put32(out + 4, COOKIE);
    memcpy(out + 8, id, STUN_ID_BYTES);
    put16(out + 20, FINGERPRINT);
    put16(out + 22, 4);
    put32(out + 24, fingerprint_of(out, HEADER_BYTES));
}

/* The attributes of one answer, the first of each kind. */
struct attributes {
    const uint8_t *message; /* borrowed */
    bool has_xor_mapped, has_mapped, has_alternate, has_error, has_unknown;
    bool is_behind_integrity; /* what follows it, but a FINGERPRINT, does not count (14.5) */
    struct stun_answer xor_mapped, mapped, alternate;
    unsigned error_code;
};

/* Sections 14.1, 14.2 and 14.15; `mask` is what an XORed address is XORed with: cookie and id. */
static int parse_address(struct stun_answer *out, const uint8_t *value, size_t len,
                         const uint8_t *mask)
{
    size_t size;

    if (len < 4)
        return -ERR_PROTO;
    out->is_ipv6 = value[1] == FAMILY_IPV6;
    size = out->is_ipv6 ? 16 : 4;
    if ((!out->is_ipv6 && value[1] != FAMILY_IPV4) || len != 4 + size)
        return -ERR_PROTO;
    out->has_address = true;
    out->port = get16(value + 2);
    memcpy(out->address, value + 4, size);
    if (mask) {
        out->port ^= get16(mask);
        for (size_t i = 0; i < size; i++)
            out->address[i] ^= mask[i];
    }
    return 0;
}

static int parse_error_code(unsigned *out, const uint8_t *value, size_t len)
{
    unsigned class;

    if (len < 4)
        return -ERR_PROTO;
    class = value[2] & 7;
    if (class < 3 || class > 6 || value[3] > 99)
        return -ERR_PROTO;
    *out = class * 100 + value[3];
    return 0;
}

/* Section 14.7: it is the last one. */
static int check_fingerprint(const uint8_t *message, const uint8_t *value, size_t len,
                             const uint8_t *end)
{
    if (len != 4 || value + 4 != end)
        return -ERR_PROTO;
    return get32(value) == fingerprint_of(message, (size_t)(value - 4 - message)) ? 0 : -ERR_PROTO;
}

/* What an answer may have and is not looked at: section 18.3 of RFC 8489, 11.2 of RFC 3489. */
static bool is_known(uint16_t type)
{
    return type <= REFLECTED_FROM || type == REALM || type == NONCE;
}

static int take_attribute(struct attributes *a, uint16_t type, const uint8_t *value, size_t len)
{
    if (a->is_behind_integrity)
        return 0;
    switch (type) {
    case XOR_MAPPED_ADDRESS:
        if (a->has_xor_mapped)
            return 0;
        a->has_xor_mapped = true;
        return parse_address(&a->xor_mapped, value, len, a->message + 4);
    case MAPPED_ADDRESS:
        if (a->has_mapped)
            return 0;
        a->has_mapped = true;
        return parse_address(&a->mapped, value, len, NULL);
    case ALTERNATE_SERVER:
        if (a->has_alternate)
            return 0;
        a->has_alternate = true;
        return parse_address(&a->alternate, value, len, NULL);
    case ERROR_CODE:
        if (a->has_error)
            return 0;
        a->has_error = true;
        return parse_error_code(&a->error_code, value, len);
    case MESSAGE_INTEGRITY:
    case INTEGRITY_SHA256:
        a->is_behind_integrity = true;
        return 0;
    default:
        a->has_unknown |= type < OPTIONAL && !is_known(type);
        return 0;
    }
}

static int walk(struct attributes *a, const uint8_t *src, const uint8_t *end)
{
    while (src < end) {
        const uint8_t *value = src + 4;
        uint16_t type;
        size_t len;
        int err;

        if (end - src < 4)
            return -ERR_PROTO;
        type = get16(src);
        len = get16(src + 2);
        if ((size_t)(end - value) < ((len + 3) & ~(size_t)3))
            return -ERR_PROTO;
        if (type == FINGERPRINT)
            err = check_fingerprint(a->message, value, len, end);
        else
            err = take_attribute(a, type, value, len);
        if (err)
            return err;
        src = value + ((len + 3) & ~(size_t)3);
    }
    return 0;
}

/* Section 6.3.3; an old server has the plain address only. */
static void conclude_success(struct stun_answer *out, const struct attributes *a)
{
    if (a->has_unknown || (!a->has_xor_mapped && !a->has_mapped))
        return; /* it stays STUN_USELESS */
    *out = a->has_xor_mapped ? a->xor_mapped : a->mapped;
    out->kind = STUN_MAPPED;
}

/* Section 6.3.4 */
static void conclude_error(struct stun_answer *out, const struct attributes *a)
{
    if (!a->has_error || a->has_unknown)
        return;
    if (a->error_code == STUN_TRY_ALTERNATE)
        *out = a->alternate;
    out->kind = STUN_ERROR;
    out->error_code = a->error_code;
}

int stun_answer_parse(struct stun_answer *out, const uint8_t id[STUN_ID_BYTES], const uint8_t *src,
                      size_t n)
{
    struct attributes a = {.message = src};
    int err;

    *out = (struct stun_answer){.kind = STUN_USELESS};
    if (n < HEADER_BYTES || n > STUN_ANSWER_MAX || src[0] & 0xc0 || get32(src + 4) != COOKIE ||
        get16(src + 2) % 4 != 0 || n - HEADER_BYTES != get16(src + 2))
        return -ERR_PROTO;
    if ((get16(src) != BINDING_SUCCESS && get16(src) != BINDING_ERROR) ||
        memcmp(src + 8, id, STUN_ID_BYTES) != 0)
        return -ERR_NOT_FOUND;
    err = walk(&a, src + HEADER_BYTES, src + n);
    if (err)
        return err;
    if (get16(src) == BINDING_SUCCESS)
        conclude_success(out, &a);
    else
        conclude_error(out, &a);
    return 0;
}

uint64_t stun_wait_ms(unsigned sent, unsigned tries, unsigned rto_ms)
{
    must(sent >= 1 && sent <= tries);
    must(tries < 64);
    return sent == tries ? (uint64_t)rto_ms * LAST_WAIT : (uint64_t)rto_ms << (sent - 1);
}
