/* url - where a WebSocket server is: ws://host[:port][/path][?query], wss://, and the same as
 * http:// and https://, which people write for it. */
#ifndef WS_URL_H
#define WS_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"

#define WS_HOST_MAX   253u
#define WS_TARGET_MAX 1024u

struct ws_url {
    bool is_secure;
    uint16_t port;                   /* 80 or 443 when none is given */
    char host[WS_HOST_MAX + 1];      /* a name or an address, without brackets */
    char authority[WS_HOST_MAX + 9]; /* for Host: brackets, and the port unless it is the default */
    char target[WS_TARGET_MAX + 1];  /* path and query: "/" at least */
};

/* 0; -ERR_SYNTAX with a reason in *why (static).  A user, a password or a fragment is refused: what
 * is secret has no place there. */
MUST_USE int ws_url_parse(struct ws_url *out, const char *text, const char **why);

#endif
