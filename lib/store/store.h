/* store - durable state of a service: records in one SQLite file, written by a thread of its own.
 *
 *   control loop --batch--> queue --> store thread: one transaction, fsync
 *        ^                                          |
 *        +---------------- on_done <----------------+        only now the change may be
 * acknowledged
 *
 * A record is (kind, id) -> body and secret.  The body is a text that stands in the file as it is;
 * the secret is sealed with AES-256-GCM under the store's key, with kind and id as associated data:
 * who steals the file has the bodies, and cannot move a secret from one record to another.
 *
 * A batch is in the file whole or not at all, whatever happens: WAL, synchronous=FULL.  A disk that
 * is full or read-only, or a file that was moved away, refuses batches and harms nothing else; each
 * batch tries anew.  A lock, in a file of its own beside it, lets one process at a time write;
 * where it cannot be had, nothing is written until it can.  On a read-only disk a store opens for
 * reading: with what the write-ahead log holds (mode=ro), or, where there is none, without any file
 * beside it (immutable=1, or SQLite would want to make one).
 *
 * Life: store_open(), store_load() and store_write() by the control thread; store_start(); then
 * store_commit() only; store_close().
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"

#define STORE_KEY_BYTES 32
#define STORE_WHY_BYTES 200

struct loop;
struct store;
struct store_batch;

struct store_options {
    struct loop *loop;  /* borrowed: where on_done runs */
    const char *path;   /* of the file; its folder exists */
    const uint8_t *key; /* STORE_KEY_BYTES, copied */
    unsigned queue_max; /* batches that wait */
};

/* Opens the file, makes it (0600) where there is none, and brings its schema up to date.  0; with a
 * sentence in `why`: -ERR_IO, -ERR_FULL, -ERR_DENIED (cannot be opened for this reason, and not
 * even for reading), -ERR_SYNTAX (no database, or somebody else's, which stays as it is, or of a
 * newer version, or damaged), -ERR_AUTH (another key), -ERR_CONFLICT (another process has it).
 */
MUST_USE int store_open(struct store **out, const struct store_options *options, char *why,
                        size_t why_size);
/* What was queued is written, then the thread ends; on_done of it is posted.  Before loop_free() of
 * its loop.  Fine with NULL. */
void store_close(struct store *s);

/* Looks at a file that is there, without a lock or a change, also while another process has it: can
 * it be opened with this key?  Results as store_open(). */
MUST_USE int store_look(const char *path, const uint8_t key[STORE_KEY_BYTES], char *why,
                        size_t why_size);

struct store_record {
    const char *id, *body;
    const uint8_t *secret; /* NULL: none */
    size_t secret_len;
};

/* Every record of a kind, by id; borrowed for the call.  0; with `why`: -ERR_AUTH (a secret that
 * the key does not open), -ERR_SYNTAX (damaged), -ERR_CONFLICT (another program locks the file),
 * -ERR_IO. */
MUST_USE int store_load(struct store *s, const char *kind,
                        void (*on_record)(void *arg, const struct store_record *record), void *arg,
                        char *why, size_t why_size);

struct store_batch *store_batch_new(void);
/* Copied.  secret NULL: none.  A later change of the same record in the batch wins. */
void store_batch_put(struct store_batch *b, const char *kind, const char *id, const char *body,
                     const void *secret, size_t secret_len);
void store_batch_remove(struct store_batch *b, const char *kind, const char *id);
/* All of `from`, copied, behind what is there already. */
void store_batch_put_all(struct store_batch *b, const struct store_batch *from);
void store_batch_free(struct store_batch *b); /* wipes its secrets; fine with NULL */

/* Before store_start(): at once.  The batch stays the caller's.  0, -ERR_FULL (the disk is full),
 * -ERR_DENIED (read-only), -ERR_IO. */
MUST_USE int store_write(struct store *s, const struct store_batch *b, char *why, size_t why_size);

struct store_result {
    int err; /* as store_write() */
    char why[STORE_WHY_BYTES];
};

/* 0, -ERR_SYS. */
MUST_USE int store_start(struct store *s);
/* Takes the batch over.  on_done runs once, in the loop.  0; -ERR_LIMIT (queue_max): nothing has
 * happened, the batch stays the caller's. */
MUST_USE int store_commit(struct store *s, struct store_batch *b,
                          void (*on_done)(void *arg, const struct store_result *result), void *arg);

enum store_fault { STORE_FAULT_FULL, STORE_FAULT_READ_ONLY, STORE_FAULT_IO, STORE_FAULT_COUNT };
extern const char *const store_fault_names[STORE_FAULT_COUNT];

/* Any thread. */
struct store_stats {
    uint64_t commits, faults[STORE_FAULT_COUNT], queue_full;
    uint64_t busy_us;  /* of all commits */
    unsigned queued;   /* now, the one that is being written too */
    bool is_read_only; /* the last thing it knows */
};
void store_stats(const struct store *s, struct store_stats *out);

#endif
