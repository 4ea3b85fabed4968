/* store_fixture - a folder for a store, and what a store holds as a text. */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "loop/loop.h"
#include "store/store.h"
#include "support/suite.h"

static char folder[64], *path;
static struct loop *loop;
static const uint8_t key[STORE_KEY_BYTES] = "0123456789abcdef0123456789abcde";
static char why[STORE_WHY_BYTES];

static inline void setup(void)
{
    log_set_level(LOG_ERR);
    strcpy(folder, "/tmp/penstock-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    path = must_printf("%s/a # b?.db", folder); /* what a URI would take for something else */
    loop = loop_new("test", 0, 0);
}

static inline void teardown(void)
{
    char *command = must_printf("rm -r %s", folder);

    loop_free(loop);
    ck_assert_int_eq(system(command), 0);
    free(command);
    free(path);
}

static inline int open_with(struct store **s, const uint8_t *with)
{
    return store_open(
        s, &(struct store_options){.loop = loop, .path = path, .key = with, .queue_max = 2}, why,
        sizeof(why));
}

static inline struct store *opened(void)
{
    struct store *s;
    int err = open_with(&s, key);

    ck_assert_msg(err == 0, "%s", why);
    return s;
}

/* --- what a store holds, as one text: "id=body/secret;" */

static inline void on_record(void *arg, const struct store_record *r)
{
    char *all = arg;
    size_t n = strlen(all);

    snprintf(all + n, 4096 - n, "%s=%s/%.*s;", r->id, r->body, (int)r->secret_len,
             r->secret ? (const char *)r->secret : "");
}

static inline const char *content(struct store *s, const char *kind)
{
    static char all[4096];

    all[0] = '\0';
    ck_assert_int_eq(store_load(s, kind, on_record, all, why, sizeof(why)), 0);
    return all;
}

static inline void write_one(struct store *s, const char *id, const char *body, const char *secret)
{
    struct store_batch *b = store_batch_new();

    store_batch_put(b, "edge", id, body, secret, secret ? strlen(secret) : 0);
    ck_assert_int_eq(store_write(s, b, why, sizeof(why)), 0);
    store_batch_free(b);
}

#endif
