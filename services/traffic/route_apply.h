/* route_apply - updates of the route table, one after another, built on a thread of their own.
 *
 *   submit --> waiting line --> apply thread: JSON, certificates --> control loop: publish
 *                                             file of the new set  -->               answer
 *
 * A set is served as soon as it is built; its sender hears of it once it is on the disk too.  Old
 * sets are freed by the apply thread.  One update is built at a time; the control thread does no
 * work that grows with the number of routes but the answer's text.  While one is built others wait:
 * - of whole sets at most one waits: a newer one takes its place (fate superseded), and that of the
 *   edits in front of it, since it says what all routes shall be;
 * - edits of single hosts wait in line, at most `waiting_max` updates in all: they say nothing
 * about each other's hosts, so none of them may be lost to another. Dry runs go the same way,
 * supersede only dry runs, and publish nothing.
 *
 * Every update that is no dry run has a number, rising; the number of an applied one is the set's
 * revision.  The number of one that came to nothing is used again, unless another followed already.
 * An update whose content is in force already changes nothing, not even the revision.
 *
 * All functions are for the control thread.
 */
#ifndef TRAFFIC_ROUTE_APPLY_H
#define TRAFFIC_ROUTE_APPLY_H

#include <stddef.h>

#include "base/list.h"
#include "loop/loop.h"
#include "traffic/route_json.h"

struct admin_request;

enum route_update_kind {
    ROUTE_UPDATE_SET,    /* the whole set: `text` */
    ROUTE_UPDATE_PUT,    /* one host: `host`, `text` */
    ROUTE_UPDATE_DELETE, /* one host: `host` */
};

#define ROUTE_FATES(X)                                                                             \
    X(PENDING, "pending")           /* waits or is built */                                        \
    X(APPLIED, "applied")           /* live now */                                                 \
    X(UNCHANGED, "unchanged")       /* the live set is this already */                             \
    X(CHECKED, "checked")           /* dry run: would be applied */                                \
    X(CHECK_FAILED, "check_failed") /* dry run: would be rejected; nobody is alarmed by it */      \
    X(REJECTED, "rejected")         /* build.faults says why */                                    \
    X(SUPERSEDED, "superseded")     /* a newer whole set came before its turn */                   \
    X(STOPPED, "stopped")           /* the service ends */

#define X(name, word) ROUTE_##name,
enum route_fate { ROUTE_FATES(X) ROUTE_FATE_COUNT };
#undef X

#define ROUTE_NOT_STORED "the set is served, but a restart would not find it"

/* The hosts that an update adds, changes or removes: routes of the new set, of the old for removed.
 */
struct route_names {
    const struct route **list; /* owned; the routes are borrowed from the update's two sets */
    size_t count;
};

struct route_update {
    enum route_update_kind kind;
    const struct route_shape *shape; /* borrowed, static: of a whole set */
    bool is_dry_run;
    char host[ROUTE_HOST_MAX + 1];
    char *text; /* owned: JSON, wiped as soon as it has been read */
    size_t text_len;
    char peer[ADDR_TEXT_MAX]; /* who sent it: for the log */
    /* For the sender: */
    struct admin_request *request; /* borrowed; NULL once the client went away */
    void *arg;                     /* another sender's; borrowed */
    uint64_t seen_revision;        /* live when it was sent */
    /* Just before it is built, with the set that it will change: false drops it, without on_done.
     * May be NULL. */
    bool (*on_start)(struct route_update *u, const struct route_set *live);
    /* Once, with the fate; then the update is freed. */
    void (*on_done)(struct route_update *u, const struct route_set *live);

    /* The outcome. */
    enum route_fate fate;
    uint64_t number;        /* 0: dry run */
    uint64_t superseded_by; /* number of the newer set; 0: a dry run's */
    bool has_syntax_error;  /* that is why, see `syntax`; also the only one of the faults */
    struct json_syntax syntax;
    struct route_build build;
    struct route_set *base, *set; /* counted; set is NULL without one */
    struct route_names added, changed, removed;
    bool is_store_failed; /* its sender must hear of it: ROUTE_NOT_STORED, and why */
    char store_why[256];
    uint64_t taken_us, built_us, stored_us; /* clock_now_us(); 0: it did not come to that */

    struct list node; /* in the waiting line */
    struct task built, ended;
    struct route_apply *apply; /* borrowed until it is settled */
    bool is_settled;           /* on_done was called while the thread still had it */
};

/* A text about the live set that is too long to be written on the control thread. */
struct route_reading {
    /* On the apply thread: the text, the reading's from then on, and its ETag. */
    char *(*emit)(const struct route_set *set, size_t *len, char etag[ROUTE_ETAG_MAX]);
    /* Once; text NULL: the service ends.  Then the reading is freed. */
    void (*on_done)(struct route_reading *r);
    struct admin_request *request; /* borrowed; NULL once the client went away */
    struct route_set *set;         /* counted: live when it was asked for */
    char *text;                    /* owned; on_done may take it */
    size_t len;
    char etag[ROUTE_ETAG_MAX];

    struct list node, queued; /* of all; of those that wait for the thread */
    struct task task;
    struct route_apply *apply; /* borrowed until it is settled */
    bool is_settled;
};

struct route_apply_options {
    struct loop *loop;               /* borrowed: the control loop */
    const struct auth_key *auth_key; /* borrowed */
    size_t routes_max, destinations_max;
    unsigned waiting_max;
    /* A new set is live: hand it to the workers.  `set` is borrowed for the call. */
    void (*on_publish)(void *arg, struct route_set *set);
    /* An update was rejected; or NULL. */
    void (*on_rejected)(void *arg, uint64_t number, size_t faults);
    /* Keeps a set that is live for the next start: on the apply thread, whenever an update is
     * applied, or finds its content live but not kept.  0; -ERR_* with `why`: the set is served all
     * the same, with a warning.  May be NULL. */
    int (*store)(void *arg, const struct route_set *set, char *why, size_t why_size);
    void *arg;
    bool is_first_stored; /* the set that it starts with is kept already */
};

struct route_apply_stats {
    uint64_t fates[ROUTE_FATE_COUNT];
    uint64_t refused; /* the line was full */
    uint64_t sets;    /* whole ones that were applied, or were live already */
    uint64_t store_failures;
    uint64_t stored; /* revision of the set that a restart would begin with */
    unsigned waiting;
    bool is_busy;
    uint64_t desired; /* the newest update that waits, is built or is live */
    char *last_error; /* borrowed; NULL: the newest update was no fault */
    uint64_t last_error_number;
    int64_t last_error_at; /* seconds since 1970 */
};

struct route_apply;

/* Starts the thread; `first` (counted, numbered) is live from now on.  0, -ERR_SYS. */
MUST_USE int route_apply_new(struct route_apply **out, const struct route_apply_options *options,
                             struct route_set *first);
/* Ends the thread and every update: those not yet answered are STOPPED.  Before admin_stop(). */
void route_apply_stop(struct route_apply *a);
void route_apply_free(struct route_apply *a); /* after stop; fine with NULL */

struct route_update *route_update_new(enum route_update_kind kind);
void route_update_free(struct route_update *u); /* one that was not submitted */
/* Takes the update over.  0; -ERR_LIMIT (it stays the caller's): the line is full. */
MUST_USE int route_apply_submit(struct route_apply *a, struct route_update *u);

/* Takes the reading over, whose two functions and request are set. */
void route_apply_read(struct route_apply *a, struct route_reading *r);

struct route_set *route_apply_live(const struct route_apply *a); /* borrowed; never NULL */
const struct route_apply_stats *route_apply_stats(struct route_apply *a);
const char *route_fate_name(enum route_fate fate);

#endif
