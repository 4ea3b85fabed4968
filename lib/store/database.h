/* database - the SQLite file behind a store: opening, schema, one transaction.  Not for other
 * modules. One thread at a time. */
#ifndef STORE_DATABASE_H
#define STORE_DATABASE_H

#include <sqlite3.h>
#include <sys/types.h>

#include "base/list.h"
#include "store/store.h"

/* One line of a batch. */
struct store_change {
    struct list node;
    bool is_removal;
    char *kind, *id, *body; /* owned */
    uint8_t *secret;        /* owned; or NULL */
    size_t secret_len;
};

struct store_batch {
    struct list changes; /* struct store_change, owned, in order */
};

struct database {
    char *path;        /* owned */
    sqlite3 *db;       /* owned; NULL: closed after a fault */
    bool is_read_only; /* the disk said so at the last opening */
    dev_t dev;         /* of the file that was opened first */
    ino_t ino;
    uint8_t key[STORE_KEY_BYTES];
};

/* As store_open(); database_fini() is due either way.  no_lock: why it must not be written (it is
 * opened for reading), or NULL. */
MUST_USE int database_init(struct database *d, const char *path, const uint8_t key[STORE_KEY_BYTES],
                           const char *no_lock, char *why, size_t why_size);
/* As store_look(); database_fini() is due either way. */
MUST_USE int database_look(struct database *d, const char *path, const uint8_t key[STORE_KEY_BYTES],
                           char *why, size_t why_size);
void database_fini(struct database *d); /* fine on a zeroed one */
/* As store_load() and store_write(). */
MUST_USE int database_load(struct database *d, const char *kind,
                           void (*on_record)(void *arg, const struct store_record *record),
                           void *arg, char *why, size_t why_size);
MUST_USE int database_write(struct database *d, const struct store_batch *b, char *why,
                            size_t why_size);

#endif
