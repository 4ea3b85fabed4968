/* events - what happens in a service, for whoever listens at GET /v1/events (server-sent events).
 *
 *   id: 4f1c09ab-17
 *   event: edgeConnected
 *   data: {"time":"2026-01-02T03:04:05.678Z","edgeId":"fra-1", ...}
 *
 * An id is the boot's and a number that rises by one an event.  The newest `kept` events stay in a
 * ring, for clients that come back with Last-Event-ID; events of single streams, which come by the
 * thousand, have a ring of their own, are sent only to who names them in ?types=, and do not even
 * come to be while nobody does.  A listener has no queue, only a place in the rings: one that is
 * too slow is told of the gap (`event: gap`) and goes on, and nobody ever waits for it.
 *
 * Control thread, but for events_wants() and events_post().
 */
#ifndef ADMIN_EVENTS_H
#define ADMIN_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"

#define EVENT_TYPES_MAX   32
#define EVENTS_POSTED_MAX 1024 /* on their way from workers */
#define EVENTS_WHY_BYTES  1024

struct events;
struct json_object;
struct loop;

struct event_type {
    const char *name; /* "edgeConnected" */
    bool is_stream;   /* of a single stream: only on demand */
};

/* `types` is borrowed, ended by a NULL name; an event's type is its index there. */
struct events *events_new(struct loop *loop, const struct event_type *types, size_t kept,
                          unsigned subscribers_max);
/* After admin_stop(), and after what was posted has run (loop_free()).  Fine with NULL. */
void events_free(struct events *e);
/* `data` (moved; or NULL) is an object; the time comes into it.  Without `e` it is only put. */
void events_raise(struct events *e, unsigned type, struct json_object *data);

/* Any thread: false for events of streams while nobody listens to them. */
bool events_wants(const struct events *e, unsigned type);
/* Any thread: raises it later, on the control thread.  More than EVENTS_POSTED_MAX on their way: it
 * is lost, and counted. */
void events_post(struct events *e, unsigned type, struct json_object *data);

struct events_stats {
    uint64_t raised, gaps, lost, refused; /* lost: on the way from a worker; refused: subscribers */
    unsigned subscribers;
};
void events_stats(const struct events *e, struct events_stats *out);

/* --- a listener's place: for subscriber.c and tests --- */

struct event_place {
    uint32_t mask;  /* types that it wants */
    uint64_t at[2]; /* of each ring: how many events it has passed */
    bool has_gap;
};

/* `types`: "a,b", or NULL: all but those of streams.  `last_id`: what came last, or NULL: from now
 * on; one that is not of this boot, or too old, begins with a gap and all there is.  0;
 * -ERR_SYNTAX: an unknown type; -ERR_LIMIT: subscribers_max; both with a sentence in `why`
 * (EVENTS_WHY_BYTES).  events_leave() is due after 0. */
MUST_USE int events_join(struct events *e, struct event_place *place, const char *types,
                         const char *last_id, char *why, size_t why_size);
void events_leave(struct events *e, struct event_place *place);
/* The next piece of text, the caller's; NULL: there is nothing new. */
char *events_next(struct events *e, struct event_place *place, size_t *len);
/* Called whenever something was raised. */
void events_on_news(struct events *e, void (*on_news)(void *arg), void *arg);

#endif
