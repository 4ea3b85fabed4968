/* conf - one table of keys drives everything about configuration: the JSON file, the environment,
 * --set, secrets from files, --check, --print-config, --help, the table in docs/, the man pages and
 * the completions of shells.
 *
 * Order, later wins: default, file (--config), environment (PENSTOCK_*), --set key=value.
 * An unknown key, a wrong type or a value out of range is an error that names the source (file,
 * variable, option), the key's path and what is allowed; all of them are reported together.
 * An unknown PENSTOCK_* variable is a warning at a start (those of other services may stand in the
 * environment) and an error for --check; what Kubernetes and Docker put there for services that are
 * called so is neither, and no value.
 *
 * `tunnel.memoryBudget` is PENSTOCK_TUNNEL__MEMORY_BUDGET: camelCase becomes `_`, a dot `__`; lists
 * and maps are JSON.  A key of kind CONF_SECRET called `x` has a companion `xFile` (added by conf):
 * giving both is an error.  Of such a file the newlines at its end are dropped, an empty one is an
 * error.  A service that wants to make a missing file itself has `xFile` as a CONF_STRING key in
 * its own table: then conf adds no companion.  --set refuses secrets (argv is public), also in a
 * list or a map: a member called `secret`.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"

struct json_object;
struct json_check;

enum conf_kind {
    CONF_STRING, /* char *          owned by the object; "" when unset */
    CONF_SECRET, /* char *          masked when printed, zeroed when freed */
    CONF_BOOL,   /* bool */
    CONF_INT,    /* int64_t         min..max */
    CONF_ENUM,   /* int             index into `choices` */
    CONF_LISTEN, /* char *          "addr:port", "[v6]:port", ":port", or "" where empty is allowed
                    (min 0) */
    CONF_JSON,   /* struct json_object * owned: a list or a map; the service checks its inside; when
                    printed, a member called `secret` is masked */
};

struct conf_key {
    const char *path; /* "tunnel.memoryBudget" */
    enum conf_kind kind;
    size_t offset;              /* of the member in the service's configuration struct */
    int64_t min, max;           /* CONF_INT: value; strings: length in bytes (max 0: 4,096) */
    const char *fallback;       /* the default, written as in the environment */
    const char *unit;           /* "bytes", "s", "ms", "connections", ... or NULL */
    const char *doc;            /* one sentence */
    const char *example;        /* CONF_JSON: how it is written; NULL: the default shows it */
    const char *const *choices; /* CONF_ENUM: NULL-ended */
    const char *counter;        /* limits: the metric that counts when it is reached, or NULL */
    bool is_hot;                /* may change by a reload */
    bool is_url;                /* CONF_STRING: what stands behind its "?" is a secret */
    /* More checks of one value (CONF_JSON, strings): adds faults with `pointer` as their base. */
    void (*check)(struct json_check *faults, const char *pointer, const void *member);
};

struct conf_table {
    const char *service;         /* "hub" */
    const char *summary;         /* one line for --help */
    const struct conf_key *keys; /* ended by a NULL path */
    size_t size;                 /* of the struct */
    /* After all keys are set: what several keys must agree on.  May be NULL. */
    void (*check)(struct json_check *faults, const void *conf);
};

/* What the command line asks for. */
enum conf_verdict {
    CONF_RUN,  /* configuration is in *conf: go on */
    CONF_DONE, /* --help, --version, --check, --print-config: printed; end with status 0 */
    CONF_BAD,  /* told on standard error; end with status 2 */
};

/* One option, for --help, the man page and completions. */
struct conf_option {
    const char *name;     /* "--ready" */
    const char *argument; /* NULL: none.  FILE is a path, "bash|zsh" one of these words */
    const char *doc;
};

struct conf_command {
    const char *name;     /* "healthcheck": a first argument that is no option */
    const char *doc;      /* one line */
    const char *synopsis; /* what stands behind it beside options; or NULL.  "a|b ..." begins with
                             one of these words */
    /* Its own, ended by a NULL name: another one is refused.  NULL: none. */
    const struct conf_option *options;
    /* Tells what is wrong with the configuration in its own way; NULL: on standard error. */
    void (*on_faults)(const struct conf_table *table, const struct json_check *faults, char **rest);
};

/* Reads argv and environ.  Options: --config FILE, --set key=value (repeatable), --check,
 * --print-config, --print-keys (the Markdown table for docs/), --print-man 1|5, --print-completion
 * SHELL, --help, --version, --no-supervise (the same as --set supervise=false).  A first argument
 * that stands in `commands` (ended by a NULL name) is reported in *command, with the arguments
 * behind it in *rest (NULL-ended, part of argv); conf is filled as well, for commands need it.
 * --config, --set and --help are taken behind a command too, up to a "--".  conf must be zeroed, of
 * table->size bytes. */
MUST_USE enum conf_verdict conf_load(const struct conf_table *table,
                                     const struct conf_command *commands, int argc, char **argv,
                                     char **environ_, void *conf, const char **command,
                                     char ***rest);
/* The same without printing and without argv: for reloads and tests.  `file` and `sets`
 * (NULL-ended) may be NULL.  Faults go to `faults` with pointers of the form /tunnel/memoryBudget,
 * each detail begins with its source.  conf must be zeroed, and is zeroed again on -ERR_SYNTAX.  0,
 * -ERR_SYNTAX. */
MUST_USE int conf_read(const struct conf_table *table, const char *file, char **environ_,
                       const char *const *sets, void *conf, struct json_check *faults);
void conf_free(const struct conf_table *table, void *conf);
/* What is in force, secrets as "***" (or "" when unset), as a JSON object, the caller's.  Of a URL
 * it is the query: "wss://host/path?***". */
struct json_object *conf_emit(const struct conf_table *table, const void *conf);
/* Each secret that it holds, those in lists and maps (members called `secret`) and the values in
 * queries of URLs too. */
void conf_each_secret(const struct conf_table *table, const void *conf,
                      void (*on_secret)(void *arg, const char *secret), void *arg);
/* The `is_hot` false keys in which two configurations differ, "a, b", the caller's; NULL: none.
 * They refuse a reload. */
char *conf_cold_differences(const struct conf_table *table, const void *a, const void *b);

#endif
