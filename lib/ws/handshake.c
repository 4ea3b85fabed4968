/* handshake - see handshake.h. */
#include "ws/handshake.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "tls/tls.h"

#define ACCEPT_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455, section 1.3 */

/* A piece of the head. */
struct span {
    const char *at;
    size_t n;
};

static void emit_base64(const uint8_t *bytes, size_t n, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t three = (uint32_t)bytes[i] << 16;

        if (left > 1)
            three |= (uint32_t)bytes[i + 1] << 8;
        if (left > 2)
            three |= bytes[i + 2];
        *out++ = digits[three >> 18];
        *out++ = digits[three >> 12 & 63];
        *out++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[three & 63] : '=';
    }
    *out = '\0';
}

void ws_key_emit(const uint8_t nonce[WS_NONCE_BYTES], char out[WS_KEY_TEXT])
{
    emit_base64(nonce, WS_NONCE_BYTES, out);
}

void ws_accept_emit(const char *key, char out[WS_ACCEPT_TEXT])
{
    char text[WS_KEY_TEXT + sizeof(ACCEPT_GUID)];
    uint8_t digest[20];

    snprintf(text, sizeof(text), "%s" ACCEPT_GUID, key);
    tls_sha1(text, strlen(text), digest);
    emit_base64(digest, sizeof(digest), out);
}

size_t ws_request_emit(const struct ws_url *url, const char *key, char out[WS_REQUEST_MAX])
{
    int n = snprintf(out, WS_REQUEST_MAX,
                     "GET %s HTTP/1.1\r\n"
                     "Host: %s\r\n"
                     "Upgrade: websocket\r\n"
                     "Connection: Upgrade\r\n"
                     "Sec-WebSocket-Key: %s\r\n"
                     "Sec-WebSocket-Version: 13\r\n"
                     "User-Agent: Penstock\r\n\r\n",
                     url->target, url->authority, key);

    must(n > 0 && n < (int)WS_REQUEST_MAX);
    return (size_t)n;
}

/* --- the answer ------------------------------------------------------------------------------ */

static bool is_text(struct span s, const char *text)
{
    return s.n == strlen(text) && strncasecmp(s.at, text, s.n) == 0;
}

/* Whether a list like "keep-alive, Upgrade" has the word. */
static bool has_word(struct span list, const char *word)
{
    while (list.n > 0) {
        const char *comma = memchr(list.at, ',', list.n);
        struct span item = {list.at, comma ? (size_t)(comma - list.at) : list.n};
        size_t step = item.n + (comma ? 1 : 0);

        while (item.n > 0 && (*item.at == ' ' || *item.at == '\t'))
            item.at++, item.n--;
        while (item.n > 0 && (item.at[item.n - 1] == ' ' || item.at[item.n - 1] == '\t'))
            item.n--;
        if (is_text(item, word))
            return true;
        list.at += step;
        list.n -= step;
    }
    return false;
}

/* What the fields of an answer said. */
struct answer {
    unsigned upgrades, connections, accepts; /* how often each field came */
    bool is_websocket, is_upgrade, is_accepted;
    const char *fault; /* static: the first thing that is wrong */
};

static void take_field(struct answer *a, struct span name, struct span value, const char *accept)
{
    if (is_text(name, "Upgrade")) {
        a->upgrades++;
        a->is_websocket = is_text(value, "websocket");
    } else if (is_text(name, "Connection")) {
        a->connections++;
        a->is_upgrade = a->is_upgrade || has_word(value, "upgrade");
    } else if (is_text(name, "Sec-WebSocket-Accept")) {
        a->accepts++;
        a->is_accepted = value.n == strlen(accept) && memcmp(value.at, accept, value.n) == 0;
    } else if (is_text(name, "Sec-WebSocket-Extensions")) {
        a->fault = "it chose an extension that was not offered";
    } else if (is_text(name, "Sec-WebSocket-Protocol")) {
        a->fault = "it chose a subprotocol that was not offered";
    }
}

static bool is_name_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* One line without its end. */
static void take_line(struct answer *a, struct span line, const char *accept)
{
    const char *colon = memchr(line.at, ':', line.n);
    struct span name = {line.at, colon ? (size_t)(colon - line.at) : 0};
    struct span value;

    for (size_t i = 0; i < name.n; i++)
        if (!is_name_byte(name.at[i]))
            name.n = 0;
    if (name.n == 0) {
        a->fault = "a line of its head is no header field";
        return;
    }
    value = (struct span){colon + 1, line.n - name.n - 1};
    while (value.n > 0 && (*value.at == ' ' || *value.at == '\t'))
        value.at++, value.n--;
    while (value.n > 0 && (value.at[value.n - 1] == ' ' || value.at[value.n - 1] == '\t'))
        value.n--;
    for (size_t i = 0; i < value.n; i++)
        if (((unsigned char)value.at[i] < ' ' && value.at[i] != '\t') || value.at[i] == 0x7f)
            a->fault = "a field of its head holds a control character";
    take_field(a, name, value, accept);
}

static void read_fields(struct answer *a, const char *text, size_t n, const char *accept)
{
    while (n > 0 && !a->fault) {
        const char *end = memmem(text, n, "\r\n", 2);
        size_t line = end ? (size_t)(end - text) : n;

        take_line(a, (struct span){text, line}, accept);
        text += line + (end ? 2 : 0);
        n -= line + (end ? 2 : 0);
    }
    if (a->fault)
        return;
    if (a->upgrades != 1 || !a->is_websocket)
        a->fault = "it has no \"Upgrade: websocket\"";
    else if (a->connections == 0 || !a->is_upgrade)
        a->fault = "it has no \"Connection: Upgrade\"";
    else if (a->accepts != 1 || !a->is_accepted)
        a->fault = "its Sec-WebSocket-Accept does not fit our key";
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int ws_answer_parse(const char *text, size_t n, const char *key, size_t *used, char *why,
                    size_t why_size)
{
    static const char version[] = "HTTP/1.1 ";
    const size_t version_len = sizeof(version) - 1;
    const char *end = memmem(text, MIN(n, WS_HEAD_MAX), "\r\n\r\n", 4);
    char accept[WS_ACCEPT_TEXT];
    struct answer a = {0};

    *used = 0;
    if (n > 0 && memcmp(text, version, MIN(n, version_len)) != 0) {
        snprintf(why, why_size, "the answer is no HTTP/1.1");
        return -ERR_PROTO;
    }
    if (!end && n >= WS_HEAD_MAX) {
        snprintf(why, why_size, "the answer's head has no end within %u bytes", WS_HEAD_MAX);
        return -ERR_TOO_BIG;
    }
    if (!end)
        return 0;
    size_t head = (size_t)(end - text),
           line = (size_t)((char *)memmem(text, head + 2, "\r\n", 2) - text);
    const char *code = text + version_len;
    if (line < version_len + 3 || !is_digit(code[0]) || !is_digit(code[1]) || !is_digit(code[2]) ||
        (line > version_len + 3 && code[3] != ' ')) {
        snprintf(why, why_size, "the answer has no status");
        return -ERR_PROTO;
    }
    if (memcmp(code, "101", 3) != 0) {
        snprintf(why, why_size, "the upgrade was answered with status %.3s", code);
        return -ERR_PROTO;
    }
    ws_accept_emit(key, accept);
    read_fields(&a, text + line + 2, line < head ? head - line - 2 : 0, accept);
    if (a.fault) {
        snprintf(why, why_size, "the upgrade's answer is wrong: %s", a.fault);
        return -ERR_PROTO;
    }
    *used = head + 4;
    return 0;
}
