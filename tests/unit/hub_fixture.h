/* hub_fixture - what the hub's unit tests share: secrets, JSON, faults of a configuration.
 */
#ifndef TESTS_UNIT_HUB_FIXTURE_H
#define TESTS_UNIT_HUB_FIXTURE_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "hub/registry.h"
#include "support/suite.h"
#include "json/json.h"

/* As the hub makes them; good until the next one. */
static inline const char *new_secret(void)
{
    static struct edge_spec made;

    edge_spec_make_secret(&made);
    return made.secret;
}

static inline struct json_object *json_of(const char *text)
{
    struct json_object *out = NULL;
    struct json_syntax why;

    ck_assert_msg(json_read(&out, text, strlen(text), &why) == 0, "%s: %s", text, why.reason);
    return out;
}

/* Is there a fault with this pointer and code? */
static inline bool has_fault(const struct json_check *faults, const char *pointer, const char *code)
{
    for (size_t i = 0; i < faults->count; i++)
        if (strcmp(faults->faults[i].pointer, pointer) == 0 &&
            strcmp(faults->faults[i].code, code) == 0)
            return true;
    return false;
}

#endif
