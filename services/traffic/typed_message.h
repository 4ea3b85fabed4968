/* typed_message - one TypedRequest message as it comes in: its text, and where its parts stand.
 *
 *   {"method": "updateRouting", "request": {...}, "correlation": {"id": "...", "phase": "request"}}
 *
 * The text may be 64 MiB of routes, which the control thread must not parse: the parts are found
 * while the pieces come in, by their quotes and brackets alone; only the small ones are parsed
 * here.  Whoever parses the whole (route_apply.h) finds what else is wrong.
 *
 * The text holds private keys: whatever memory it leaves is wiped.  Pure.
 */
#ifndef TRAFFIC_TYPED_MESSAGE_H
#define TRAFFIC_TYPED_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/must.h"

enum typed_part {
    TYPED_METHOD,
    TYPED_CORRELATION,
    TYPED_RESPONSE,
    TYPED_ERROR,
    TYPED_PART_COUNT,
};

enum typed_scan {
    TYPED_BEGIN,  /* in front of the object */
    TYPED_FIRST,  /* behind its brace */
    TYPED_KEY,    /* a key must come */
    TYPED_IN_KEY, /* in it */
    TYPED_COLON,
    TYPED_VALUE,     /* a value must come */
    TYPED_IN_VALUE,  /* in one: a number, a word, or something with brackets */
    TYPED_IN_STRING, /* in a string that is a value or in one */
    TYPED_NEXT,      /* behind a value: a comma or the end */
    TYPED_DONE,      /* behind the object */
    TYPED_BROKEN,    /* no JSON object */
};

struct typed_message {
    char *text; /* owned */
    size_t len, room;
    enum typed_scan scan;
    size_t at;            /* scanned so far */
    size_t mark;          /* where the key or the value began */
    unsigned depth;       /* brackets open in the value */
    bool is_escape;       /* a backslash stands in front */
    bool is_string;       /* the value itself is a string */
    enum typed_part part; /* whose value it is; TYPED_PART_COUNT: another's */
    size_t from[TYPED_PART_COUNT], to[TYPED_PART_COUNT]; /* of values; from == to: not there */
};

void typed_message_init(struct typed_message *m);
void typed_message_clear(struct typed_message *m); /* empty again, everything wiped and freed */
/* Makes room for so many bytes in all, so that a large message that tells its length is never
 * copied.  What is not used costs no memory. */
MUST_USE int typed_message_reserve(struct typed_message *m, size_t len); /* 0, -ERR_NOMEM */
/* Adds a piece, or nothing of it: 0, -ERR_NOMEM.  The caller bounds the sum. */
MUST_USE int typed_message_push(struct typed_message *m, const void *bytes, size_t n);
/* After the last piece: one JSON object, as far as quotes and brackets tell. */
bool typed_message_is_object(const struct typed_message *m);
/* The text of a part; NULL when it is not there. */
const char *typed_message_part(const struct typed_message *m, enum typed_part part, size_t *n);
/* Hands the text over (the caller wipes and frees it); the message is empty again. */
char *typed_message_take(struct typed_message *m, size_t *n);

#endif
