/* route_json - routes as JSON: parse and validate (every fault in one go), and emit.
 *
 * A route is {hostName, destinationIps[], destinationPorts[], privateKey, publicKey,
 * moreKeys?: [{privateKey, publicKey}], authentication?: {type: "Basic", user, pass}} and what
 * route_options.h lists; the older destinationIp and destinationPort stand for a list of one.  A
 * key that is not known is a fault: nobody shall believe that something works which is not there.
 *
 * Runs on the apply thread (and at the start on the main thread).  It only reads the document; what
 * is secret in it is wiped by route_json_wipe().  Of a text that was read as json_read_list() does,
 * one route at a time becomes a document, is read and wiped; and one whose text the base's route
 * was read from is taken over unread (route_known.h).
 */
#ifndef TRAFFIC_ROUTE_JSON_H
#define TRAFFIC_ROUTE_JSON_H

#include "traffic/route.h"
#include "json/json.h"

#define ROUTE_POINTER_MAX 64u /* of a route in the document */

/* How a sender's document holds a whole set. */
struct route_shape {
    const char *key; /* of the list; pointers begin with /<key>/<n>, or with /<n> where the list is
                      * the whole document */
    const char *const *path; /* of the list in the whole document: for json_read_list() */
    /* The part of the document that is the list, or an object with nothing but it under `key`; NULL
     * after a fault.  May be NULL: the whole document. */
    struct json_object *(*find)(struct json_object *document, struct json_check *faults);
    bool takes_unknown; /* a route's key that is not known is a warning, one beside the list nothing
                         */
};

extern const struct route_shape route_shape_rest; /* an array, or {"routes": [...]} */

/* One build: what it needs, and what it found. */
struct route_build {
    const struct route_shape *shape; /* borrowed, static */
    const struct auth_key *auth_key; /* borrowed */
    const struct route_set *base;    /* borrowed: what an edit changes; its parts are reused */
    size_t routes_max, destinations_max;
    bool is_bare_list;          /* it is the whole document */
    bool is_stored;             /* out of the state file: MACs stand for passwords */
    int64_t now;                /* seconds since 1970, for the warnings */
    struct json_check faults;   /* any of them: no set */
    struct json_check warnings; /* certificate expired, not yet valid, of another name; ... */
    /* Stored only: routes that cannot be used and are not in the set, one fault each.  What made
     * them so may lie outside of the file, and is no reason to lose the others. */
    struct json_check left_out;
    size_t parsed, reused; /* certificates */
    size_t kept;           /* routes that were taken over unread */
    struct origin_tls_cache origin_tls;
};

void route_build_init(struct route_build *b, const struct auth_key *key,
                      const struct route_set *base);
void route_build_fini(struct route_build *b);

/* A whole set in the build's shape.  The sealed set, one reference; NULL with faults.  Of a stored
 * one the routes that are at fault are left out. */
struct route_set *route_json_parse(struct route_build *b, struct json_object *body);
/* The same of a document that was read without its list. */
struct route_set *route_json_parse_list(struct route_build *b, struct json_object *body,
                                        struct json_list *list);
/* The base with one route put in; `host` is normalised.  hostName may be left out of the body; so
 * may what GET does not show: without privateKey (and publicKey, or with the same one) the present
 * certificate stays, without `pass` the same user's password stays.  Pointers begin at the route.
 */
struct route_set *route_json_put(struct route_build *b, const char *host, struct json_object *body);
/* Zeroes every string anywhere in the document: json-c's copies of keys and passwords.  The caller
 * sees to it that nobody reads the document at the same time. */
void route_json_wipe(struct json_object *body);

/* Without private key and password.  The caller's. */
struct json_object *route_json_emit(const struct route *route);
struct json_object *route_json_emit_set(const struct route_set *set); /* {"routes": [...]} */
struct json_object *route_json_emit_certificates(const struct route_set *set, int64_t now);

#endif
