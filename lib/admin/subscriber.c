/* subscriber - one answer to GET /v1/events, which goes on until its client leaves.
 *
 * libmicrohttpd asks for bytes when the socket takes some.  When there is nothing new the
 * connection is suspended, and goes on with the next event or heartbeat: so one that cannot take
 * anything is asked for nothing, and costs nothing but its place.  One that has taken nothing for
 * SUBSCRIBER_STALL_MS is cut off (port.c); one whose client has shut its side is found by the watch
 * that deferred requests have. */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "admin/events.h"
#include "admin/server.h"
#include "base/err.h"

struct subscriber {
    struct list node;              /* in admin->subscribers */
    struct admin *admin;           /* borrowed */
    struct admin_request *request; /* borrowed; lives as long as the answer is sent */
    struct event_place place;
    char *text; /* owned: what is being sent, or NULL */
    size_t len, at;
    bool is_suspended, is_over;
};

static void wake(struct subscriber *s)
{
    if (!s->is_suspended)
        return;
    s->is_suspended = false;
    MHD_resume_connection(s->request->connection);
    loop_again(s->admin->options.loop, &s->request->client->port->pump);
}

static void take(struct subscriber *s, char *text, size_t len)
{
    s->text = text;
    s->len = len;
    s->at = 0;
}

static ssize_t on_room(void *arg, uint64_t position, char *out, size_t room)
{
    struct subscriber *s = arg;
    size_t n = 0;

    (void)position;
    client_enter(s->request->client, CLIENT_STREAMING);
    while (n < room && !s->is_over) {
        size_t part;

        if (!s->text) {
            size_t len = 0;
            char *text = events_next(s->admin->options.events, &s->place, &len);

            if (!text)
                break;
            take(s, text, len);
        }
        part = MIN(room - n, s->len - s->at);
        memcpy(out + n, s->text + s->at, part);
        n += part;
        s->at += part;
        if (s->at == s->len) {
            free(s->text);
            s->text = NULL;
        }
    }
    if (n > 0)
        return (ssize_t)n;
    if (s->is_over)
        return MHD_CONTENT_READER_END_OF_STREAM;
    s->is_suspended = true;
    MHD_suspend_connection(s->request->connection);
    return 0;
}

void subscriber_free(void *arg)
{
    struct subscriber *s = arg;

    list_remove(&s->node);
    events_leave(s->admin->options.events, &s->place);
    free(s->text);
    free(s);
}

struct MHD_Response *subscriber_response(struct subscriber *s)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, on_room, s, subscriber_free);

    if (!response)
        subscriber_free(s);
    return response;
}

void subscriber_end(struct subscriber *s)
{
    s->is_over = true;
    wake(s);
}

/* --- all of them ------------------------------------------------------------------------------ */

static void on_news(void *arg)
{
    struct admin *a = arg;

    LIST_EACH (&a->subscribers, node, after)
        wake(container_of(node, struct subscriber, node));
}

/* A line that means nothing: whoever is between us and the client sees that the connection lives.
 */
static void on_heartbeat(struct deadline *deadline)
{
    struct admin *a = container_of(deadline, struct admin, heartbeat);

    LIST_EACH (&a->subscribers, node, after) {
        struct subscriber *s = container_of(node, struct subscriber, node);

        if (!s->is_suspended)
            continue;
        take(s, must_strdup(":\n\n"), 3);
        wake(s);
    }
    if (!list_is_empty(&a->subscribers))
        deadline_set(&a->heartbeat, SUBSCRIBER_BEAT_MS);
}

void subscribers_init(struct admin *a)
{
    list_init(&a->subscribers);
    deadline_init(&a->heartbeat, a->options.loop, on_heartbeat);
    if (a->options.events)
        events_on_news(a->options.events, on_news, a);
}

void subscribers_end(struct admin *a)
{
    deadline_off(&a->heartbeat);
    if (a->options.events)
        events_on_news(a->options.events, NULL, NULL);
    LIST_EACH (&a->subscribers, node, after)
        subscriber_end(container_of(node, struct subscriber, node));
}

/* --- the request ------------------------------------------------------------------------------ */

void get_events(void *service, struct admin_request *r)
{
    struct admin *a = r->admin;
    char *last_id = request_header(r, "Last-Event-ID", NULL);
    char why[EVENTS_WHY_BYTES] = "";
    struct subscriber *s;
    int err;

    (void)service;
    if (!a->options.events) {
        free(last_id);
        admin_problem(r, 404, "notFound", "this service has no events");
        return;
    }
    if (r->is_head) {
        free(last_id);
        reply_text(r, 200, EVENT_STREAM, must_strdup(""), 0);
        return;
    }
    s = must_alloc(sizeof(*s));
    s->admin = a;
    s->request = r;
    err = events_join(a->options.events, &s->place, admin_query(r, "types"), last_id, why,
                      sizeof(why));
    free(last_id);
    if (err) {
        free(s);
        admin_problem(r, err == -ERR_LIMIT ? 503 : 400, err == -ERR_LIMIT ? "busy" : "badQuery",
                      "%s", why);
        return;
    }
    list_push(&a->subscribers, &s->node);
    take(s, must_strdup("retry: 2000\n\n"), strlen("retry: 2000\n\n"));
    if (a->heartbeat.due_ms == 0)
        deadline_set(&a->heartbeat, SUBSCRIBER_BEAT_MS);
    reply_events(r, s);
}
