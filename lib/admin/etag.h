/* etag - the lists of If-Match and If-None-Match (RFC 9110, 8.8.3 and 13.1). */
#ifndef ADMIN_ETAG_H
#define ADMIN_ETAG_H

#include <stdbool.h>

enum etag_compare {
    ETAG_STRONG, /* If-Match: a weak tag never matches */
    ETAG_WEAK,   /* If-None-Match: W/ is looked over */
};

/* Does the field's list hold `etag` (opaque, without quotes)?  "*" holds every one.  A field that
 * is no list of quoted tags matches nothing. */
bool etag_list_has(const char *field, const char *etag, enum etag_compare compare);

#endif
