/* registry_store - what of the registry is durable, in lib/store's records:
 *
 *   edge/<id>   body: the edge as the API shows it; secret: {secret, oldSecret?, oldUntil?}
 *   conf/<id>   secret: a digest of the entry of `edges` in the configuration that was applied
 * last; none: the entry left the list, and its edge is there
 *
 * The configuration's list is what to begin with: an entry is applied when it is new, or is another
 * one than at the last start.  What the API changed or removed since then stays; an entry that is
 * gone from the list leaves its edge where it is, which each start logs
 * (edge_not_in_configuration).
 */
#ifndef HUB_REGISTRY_STORE_H
#define HUB_REGISTRY_STORE_H

#include "hub/registry.h"
#include "store/store.h"

struct hub_conf;
struct loop;

#define REGISTRY_GONE_TOLD   20 /* edges, a line each at a start; further ones are counted in one */
#define REGISTRY_STORE_QUEUE 4  /* batches: change.h has one under way at a time */

/* Reads the key, opens store.url and reads every edge into the (empty) registry.  Both are made
 * where neither is there; a key that is missing beside its database is not: -ERR_AUTH, and nothing
 * is made.  0, or -ERR_* with `why`, and in *what the key of the configuration that
 * is at fault (static). */
MUST_USE int registry_store_open(struct store **out, struct registry *r, struct loop *loop,
                                 const struct hub_conf *conf, const char **what, char *why,
                                 size_t why_size);
/* Applies those of the configuration's entries that are to be applied (their ports move), all of
 * them with their secrets.  What the disk does not take is in force all the same: *unwritten (the
 * caller's; or NULL) has to be in the file with the first change that comes after it, or the next
 * start would take the entries for new and undo that change.  0, or with a sentence in `why`:
 * -ERR_LIMIT (limits.edges), or what store_load() has. */
MUST_USE int registry_store_fill(struct store *s, struct registry *r, struct edge_spec *specs,
                                 size_t count, struct store_batch **unwritten, char *why,
                                 size_t why_size);

void registry_batch_put(struct store_batch *b, const struct edge *edge);
void registry_batch_remove(struct store_batch *b, const char *id);

/* Whether the store that is there can be read with its key; nothing is made or changed.  0 with its
 * path in `why`; with a sentence: -ERR_NOT_FOUND (it is made at the first start), or as
 * store_open(). */
MUST_USE int registry_store_look(const struct hub_conf *conf, char *why, size_t why_size);

#endif
