/* ws_server - see ws_server.h. */
#include "support/ws_server.h"

#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/listener.h"
#include "loop/loop.h"
#include "ws/handshake.h"

void ws_server_start(struct ws_server *s, struct loop *loop)
{
    union addr a, bound;
    int rc = addr_parse_host(&a, "127.0.0.1", 0);

    ck_assert_int_eq(rc, 0);
    *s = (struct ws_server){.loop = loop, .fd = -1};
    rc = listen_bind(&a, 1, &s->listener, &bound);
    ck_assert_int_eq(rc, 0);
    s->port = addr_port(&bound);
}

void ws_server_stop(struct ws_server *s)
{
    close(s->listener);
    if (s->fd >= 0)
        close(s->fd);
}

struct turn {
    struct ready ready;
    struct loop *loop;
};

static void on_turn(struct ready *ready)
{
    loop_stop(container_of(ready, struct turn, ready)->loop);
}

void ws_server_spin(struct ws_server *s)
{
    struct turn turn = {.loop = s->loop};

    ready_init(&turn.ready, on_turn);
    loop_again(s->loop, &turn.ready);
    loop_run(s->loop);
    ready_cancel(&turn.ready); /* something else had stopped it */
}

void ws_server_accept(struct ws_server *s)
{
    struct pollfd p = {.fd = s->listener, .events = POLLIN};

    if (s->fd >= 0)
        close(s->fd);
    while (poll(&p, 1, 0) == 0)
        ws_server_spin(s);
    s->fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    ck_assert_int_ge(s->fd, 0);
}

const char *ws_server_read(struct ws_server *s, const char *until, size_t n)
{
    static char text[8192];
    size_t len = 0;

    for (;;) {
        ssize_t got =
            recv(s->fd, text + len, MIN(sizeof(text) - 1 - len, n && n > len ? n - len : 8192), 0);

        if (got > 0)
            len += (size_t)got;
        text[len] = '\0';
        if (got == 0 || (until ? memmem(text, len, until, strlen(until)) != NULL : len >= n))
            return text;
        ws_server_spin(s);
    }
}

void ws_server_write(struct ws_server *s, const void *bytes, size_t n)
{
    ck_assert_int_eq(send(s->fd, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
}

void ws_server_upgrade(struct ws_server *s, const char *behind, size_t n)
{
    const char *request = ws_server_read(s, "\r\n\r\n", 0), *at;
    char key[WS_KEY_TEXT], accept[WS_ACCEPT_TEXT], text[512];

    ck_assert_ptr_eq(strstr(request, "GET /x HTTP/1.1\r\n"), request);
    at = strstr(request, "Sec-WebSocket-Key: ");
    ck_assert_ptr_nonnull(at);
    snprintf(key, sizeof(key), "%.24s", at + 19);
    ws_accept_emit(key, accept);
    int len = snprintf(text, sizeof(text),
                       "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Accept: %s\r\n\r\n",
                       accept);
    memcpy(text + len, behind, n);
    ws_server_write(s, text, (size_t)len + n);
}

void ws_server_text(struct ws_server *s, const char *text)
{
    size_t n = strlen(text);
    uint8_t head[4] = {0x81, 126, (uint8_t)(n >> 8), (uint8_t)n};

    ck_assert_uint_lt(n, 65536);
    if (n < 126)
        head[1] = (uint8_t)n;
    ws_server_write(s, head, n < 126 ? 2 : 4);
    ws_server_write(s, text, n);
}

const char *ws_server_frame(struct ws_server *s)
{
    static char out[8192];
    const char *p = ws_server_read(s, NULL, 2);
    size_t n = (uint8_t)p[1] & 0x7f;
    uint8_t mask[4];

    out[0] = (char)('0' + ((uint8_t)p[0] & 0x0f));
    ck_assert_uint_eq((uint8_t)p[1] & 0x80, 0x80);
    if (n == 126) {
        p = ws_server_read(s, NULL, 2);
        n = (size_t)(uint8_t)p[0] << 8 | (uint8_t)p[1];
    }
    ck_assert_uint_lt(n, sizeof(out) - 2);
    memcpy(mask, ws_server_read(s, NULL, 4), 4);
    p = n ? ws_server_read(s, NULL, n) : "";
    for (size_t i = 0; i < n; i++)
        out[1 + i] = (char)(p[i] ^ mask[i % 4]);
    out[1 + n] = '\0';
    return out;
}
