/* reading - what the files of conf share while one configuration is read: the object that is being
 * filled, who gave which value, and what was wrong.  Not for other modules. */
#ifndef CONF_READING_H
#define CONF_READING_H

#include <stdio.h>

#include "conf/conf.h"
#include "json/json.h"

#define CONF_TEXT_MAX 4096        /* a string without a `max` of its own */
#define CONF_FILE_MAX (16u << 20) /* a configuration file, a secret's file */

/* Who gave a key its value. */
struct given {
    char *source; /* owned: "hub.json", "PENSTOCK_LOG__LEVEL", "--set"; NULL: the default holds */
    char *file;   /* owned: of a secret, the value of its companion `xFile`; or NULL */
    char *file_source; /* owned */
    bool is_faulty;    /* a fault was told already: no further checks */
};

struct reading {
    const struct conf_table *table; /* borrowed */
    void *conf;                     /* borrowed */
    struct json_check *faults;      /* borrowed */
    struct given *given;            /* owned, one a key */
    size_t count;
};

/* Which key a path or variable means. */
struct target {
    size_t index;
    bool is_file; /* the companion of a secret: `xFile` */
};

size_t conf_count(const struct conf_table *table);
void *conf_member(const struct conf_key *key, const void *conf);
/* True for a secret whose companion is no key of the table itself. */
bool conf_has_companion(const struct conf_table *table, const struct conf_key *key);
bool conf_find(const struct conf_table *table, const char *path, struct target *out);
/* "tunnel.memoryBudget" becomes "PENSTOCK_TUNNEL__MEMORY_BUDGET"; is_file adds _FILE. */
char *conf_variable(const char *path, bool is_file);
/* "tunnel.memoryBudget" as it is written in a file and for --set; is_file adds File. */
char *conf_dotted(const char *path, bool is_file);
/* The key that is written most nearly so, the caller's; NULL: none is near.  `spell` is
 * conf_variable() or conf_dotted(). */
char *conf_nearest(const struct conf_table *table, const char *text,
                   char *(*spell)(const char *path, bool is_file));
/* "tunnel.memoryBudget" becomes "/tunnel/memoryBudget". */
char *conf_pointer(const char *path, bool is_file);

/* A fault of one key; the detail begins with the source and the path. */
void conf_fault(struct reading *r, struct target at, const char *source, const char *code,
                const char *fmt, ...) PRINTF_LIKE(5, 6);

/* Gives a key a value, as text or as JSON; on a wrong one a fault is added and the old one stays.
 */
void conf_set_text(struct reading *r, struct target at, const char *source, const char *text);
void conf_set_json(struct reading *r, struct target at, const char *source,
                   struct json_object *value);
/* A secret's bytes, taken over; newlines inside are allowed (two tokens, a line each). */
void conf_set_secret(struct reading *r, size_t index, char *text);
bool conf_is_unset(const struct conf_key *key, const void *conf);
bool conf_is_same(const struct conf_key *key, const void *a, const void *b);
void conf_clear(const struct conf_key *key, void *conf);

/* Members called so are secrets, in whatever list or map they stand. */
#define CONF_SECRET_MEMBER "secret"

/* The steps of conf_read(). */
void conf_read_file(struct reading *r, const char *path);
void conf_read_environment(struct reading *r, char **environ_);
void conf_read_sets(struct reading *r, const char *const *sets);
void conf_read_secret_files(struct reading *r);

/* The variables PENSTOCK_* that no key has, joined by ", "; NULL when there are none.  Those that
 * Kubernetes and Docker make for services and links are nobody's typo: they are looked over. */
char *conf_unknown_variables(const struct conf_table *table, char **environ_);
/* A fault for each of them, with the nearest one that there is. */
void conf_refuse_unknown_variables(const struct conf_table *table, char **environ_,
                                   struct json_check *faults);
/* A whole file, NUL-ended, at most CONF_FILE_MAX bytes; or NULL with *why a sentence (static). */
char *conf_slurp(const char *path, size_t *n, const char **why);

/* --- what is printed about a program: its command line and its keys */

/* The options of every program, ended by a NULL name. */
const struct conf_option *conf_line_option(size_t i);
/* What may be given, as a sentence with a blank in front, or ""; the caller's. */
char *conf_allowed(const struct conf_key *key);
/* "tunnel.listen" and "tunnel.keyFile" are of one group, "workers" of none. */
bool conf_is_same_group(const char *a, const char *b);
/* The words of "a|b|c ...", one by one: where the next begins and how long it is; false: no more.
 * *at begins with the text. */
bool conf_next_word(const char **at, const char **word, size_t *n);

void conf_print_help(FILE *out, const struct conf_table *table,
                     const struct conf_command *commands);
void conf_print_command_help(FILE *out, const struct conf_table *table,
                             const struct conf_command *command);
void conf_print_keys(FILE *out, const struct conf_table *table);
/* man.c: roff of man(7), sections 1 and 5. */
void conf_print_man1(FILE *out, const struct conf_table *table,
                     const struct conf_command *commands);
void conf_print_man5(FILE *out, const struct conf_table *table);
/* completion.c.  False: no such shell. */
bool conf_print_completion(FILE *out, const char *shell, const struct conf_table *table,
                           const struct conf_command *commands);

#endif
