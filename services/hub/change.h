/* change - one change of the registry on its way: checked, made durable, put into force, answered.
 *
 *   request, FRESH ----------- check() --+-> STORING -> in force -> answer()
 *      |                                 |      |
 *      '--> WAITING -> CHECKING, check() +      +-> 507 or 503: nothing has changed
 *                                        |
 *                                        '-> answered: refused, a dry run, or nothing to change
 *
 * One is under way at a time, the others wait in line (limits.waitingChanges): so each is checked,
 * and its If-Match looked at, against the registry that it will change.  The control thread goes on
 * meanwhile; a client that goes away does not stop what it began.  Control thread.
 */
#ifndef HUB_CHANGE_H
#define HUB_CHANGE_H

#include "base/list.h"
#include "hub/registry.h"

struct admin_request;
struct change;
struct hub;
struct json_object;
struct store_batch;

/* In the hub. */
struct change_queue {
    struct list waiting;    /* struct change, owned, in order of coming */
    struct change *current; /* owned; NULL: none */
    unsigned count, max;    /* all of them */
    bool is_closed;
    uint64_t refused; /* for want of room */
    /* owned: what the disk did not take at the start.  It goes before each change until one is in
     * the file. */
    struct store_batch *unwritten;
};

void change_queue_init(struct change_queue *q, unsigned max);
/* None is begun any more; what is being stored is put into force and answered still.  Then
 * store_close() and loop_settle() for that one, and admin_stop(), which answers the others. */
void change_queue_close(struct change_queue *q);
/* After admin_stop() and loop_free().  Fine on a zeroed one. */
void change_queue_fini(struct change_queue *q);

/* A request that wants to change something.  `check` runs now or later: it answers the request by
 * itself, or calls change_put() and its like and then change_commit(). */
void change_begin(struct hub *h, struct admin_request *r,
                  void (*check)(struct hub *h, struct change *c, struct admin_request *r));

/* --- in check() */

/* The edge as the spec says, which moves; a secret is made for a new one. */
void change_put(struct change *c, struct edge_spec *spec);
void change_remove(struct change *c, const char *id);
/* A new secret; the old one is good for that long. */
void change_renew(struct change *c, const char *id, struct secret_grace grace);
/* Stores it.  Once it is in force, `answer` answers; `id` and `body` (moved; or NULL) are kept for
 * it.
 */
void change_commit(struct hub *h, struct change *c, const char *id, struct json_object *body,
                   void (*answer)(struct hub *h, struct admin_request *r, const char *id,
                                  struct json_object *body));

#endif
