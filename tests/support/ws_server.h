/* ws_server - a WebSocket server that a test plays by hand, on a real socket of 127.0.0.1: it
 * accepts one connection at a time, reads and writes bytes, and lets the test's loop run in
 * between. */
#ifndef SUPPORT_WS_SERVER_H
#define SUPPORT_WS_SERVER_H

#include <stddef.h>
#include <stdint.h>

struct loop;

struct ws_server {
    struct loop *loop; /* borrowed: the client's */
    int listener, fd;  /* owned; fd is -1 without a connection */
    uint16_t port;
};

void ws_server_start(struct ws_server *s, struct loop *loop);
void ws_server_stop(struct ws_server *s);
/* One turn of the loop. */
void ws_server_spin(struct ws_server *s);
/* The next connection; an earlier one is closed. */
void ws_server_accept(struct ws_server *s);
/* Reads until `until` is there, or without it at least n bytes, or the end; what it read, valid
 * until the next call. */
const char *ws_server_read(struct ws_server *s, const char *until, size_t n);
void ws_server_write(struct ws_server *s, const void *bytes, size_t n);
/* Reads the request for /x and answers it by the letter, n bytes right behind. */
void ws_server_upgrade(struct ws_server *s, const char *behind, size_t n);
/* One text frame out; one of a client in, unmasked, its opcode in front: "1{...}". */
void ws_server_text(struct ws_server *s, const char *text);
const char *ws_server_frame(struct ws_server *s);

#endif
