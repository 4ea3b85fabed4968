/* print - what a configuration looks like: in force as JSON, its keys for --help and for docs/. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "conf/reading.h"

/* A list or a map may hold secrets too: whatever is called so. */
static void mask_secrets(struct json_object *value)
{
    if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++)
            mask_secrets(json_object_array_get_idx(value, i));
    } else if (json_object_is_type(value, json_type_object)) {
        struct json_object *secret;

        json_object_object_foreach(value, name, member)
        {
            (void)name;
            mask_secrets(member);
        }
        if (json_object_object_get_ex(value, CONF_SECRET_MEMBER, &secret))
            must(json_object_object_add(value, CONF_SECRET_MEMBER, json_object_new_string("***")) ==
                 0);
    }
}

static void each_in(struct json_object *value, void (*on_secret)(void *arg, const char *secret),
                    void *arg)
{
    if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++)
            each_in(json_object_array_get_idx(value, i), on_secret, arg);
    } else if (json_object_is_type(value, json_type_object)) {
        json_object_object_foreach(value, name, member)
        {
            if (strcmp(name, CONF_SECRET_MEMBER) == 0 &&
                json_object_is_type(member, json_type_string))
                on_secret(arg, json_object_get_string(member));
            else
                each_in(member, on_secret, arg);
        }
    }
}

/* "token=a&b" after the "?": a, b. */
static void each_in_query(const char *url, void (*on_secret)(void *arg, const char *secret),
                          void *arg)
{
    char *copy = must_strdup(url), *rest = strchr(copy, '?'), *pair;

    if (rest)
        rest++;
    while ((pair = strsep(&rest, "&")) != NULL) {
        char *value = strchr(pair, '=');

        on_secret(arg, value ? value + 1 : pair);
    }
    explicit_bzero(copy, strlen(url));
    free(copy);
}

void conf_each_secret(const struct conf_table *table, const void *conf,
                      void (*on_secret)(void *arg, const char *secret), void *arg)
{
    for (const struct conf_key *key = table->keys; key->path; key++) {
        const void *member = conf_member(key, conf);

        if (key->kind == CONF_SECRET && !conf_is_unset(key, conf))
            on_secret(arg, *(char *const *)member);
        else if (key->is_url && !conf_is_unset(key, conf))
            each_in_query(*(char *const *)member, on_secret, arg);
        else if (key->kind == CONF_JSON)
            each_in(*(struct json_object *const *)member, on_secret, arg);
    }
}

static struct json_object *emit_masked(struct json_object *value)
{
    struct json_object *copy = NULL;

    if (value)
        must(json_object_deep_copy(value, &copy, NULL) == 0);
    mask_secrets(copy);
    return copy;
}

static struct json_object *emit_text(const struct conf_key *key, const char *text)
{
    const char *query = text && key->is_url ? strchr(text, '?') : NULL;
    struct json_object *value;
    char *masked;

    if (!query)
        return json_object_new_string(text ? text : "");
    masked = must_printf("%.*s?***", (int)(query - text), text);
    value = json_object_new_string(masked);
    free(masked);
    return value;
}

static struct json_object *emit_value(const struct conf_key *key, const void *conf)
{
    const void *member = conf_member(key, conf);

    switch (key->kind) {
    case CONF_SECRET:
        return json_object_new_string(conf_is_unset(key, conf) ? "" : "***");
    case CONF_STRING:
    case CONF_LISTEN:
        return emit_text(key, *(char *const *)member);
    case CONF_BOOL:
        return json_object_new_boolean(*(const bool *)member);
    case CONF_INT:
        return json_object_new_int64(*(const int64_t *)member);
    case CONF_ENUM:
        return json_object_new_string(key->choices[*(const int *)member]);
    case CONF_JSON:
        return emit_masked(*(struct json_object *const *)member);
    }
    return NULL;
}

/* The map of a group, made when it is not there yet. */
static struct json_object *group_of(struct json_object *top, const char **path)
{
    const char *dot;

    while ((dot = strchr(*path, '.')) != NULL) {
        char *name = strndup(*path, (size_t)(dot - *path));
        struct json_object *next = NULL;

        must(name != NULL);
        if (!json_object_object_get_ex(top, name, &next)) {
            next = json_object_new_object();
            must(next != NULL);
            json_object_object_add(top, name, next);
        }
        free(name);
        top = next;
        *path = dot + 1;
    }
    return top;
}

struct json_object *conf_emit(const struct conf_table *table, const void *conf)
{
    struct json_object *top = json_object_new_object();

    must(top != NULL);
    for (const struct conf_key *key = table->keys; key->path; key++) {
        const char *name = key->path;
        struct json_object *group = group_of(top, &name);

        must(json_object_object_add(group, name, emit_value(key, conf)) == 0);
    }
    return top;
}

bool conf_is_same_group(const char *a, const char *b)
{
    size_t n = strcspn(a, ".");

    if (!a[n])
        return b && !strchr(b, '.');
    return b && strcspn(b, ".") == n && b[n] && memcmp(a, b, n) == 0;
}

char *conf_allowed(const struct conf_key *key)
{
    if (key->kind == CONF_INT)
        return must_printf(" %" PRId64 " to %" PRId64 ".", key->min, key->max);
    if (key->kind == CONF_BOOL)
        return must_strdup(" true or false.");
    if (key->kind != CONF_ENUM)
        return must_strdup("");
    char *all = must_strdup(" One of");
    for (int i = 0; key->choices[i]; i++) {
        char *longer = must_printf("%s%s %s", all, i ? "," : "", key->choices[i]);
        free(all);
        all = longer;
    }
    char *ended = must_printf("%s.", all);
    free(all);
    return ended;
}

bool conf_next_word(const char **at, const char **word, size_t *n)
{
    *word = *at;
    *n = strcspn(*at, "| ");
    *at += *n;
    *at = **at == '|' ? *at + 1 : *at + strlen(*at);
    return *n > 0;
}

static void print_option(FILE *out, const struct conf_option *o)
{
    char *left =
        must_printf("%s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "");

    fprintf(out, "  %-34s %s\n", left, o->doc);
    free(left);
}

static void print_key_help(FILE *out, const struct conf_table *table, const struct conf_key *key)
{
    char *variable = conf_variable(key->path, false), *rule = conf_allowed(key);

    fprintf(out, "  %s  (%s)\n      %s%s", key->path, variable, key->doc, rule);
    if (key->fallback && *key->fallback)
        fprintf(out, " Default: %s%s%s.", key->fallback, key->unit ? " " : "",
                key->unit ? key->unit : "");
    else if (key->unit)
        fprintf(out, " In %s.", key->unit);
    fputc('\n', out);
    if (conf_has_companion(table, key)) {
        char *file = conf_variable(key->path, true);
        fprintf(out, "  %sFile  (%s)\n      A file that holds it.\n", key->path, file);
        free(file);
    }
    free(rule);
    free(variable);
}

void conf_print_command_help(FILE *out, const struct conf_table *table,
                             const struct conf_command *command)
{
    fprintf(out, "penstock-%s %s: %s\n\nUsage: penstock-%s %s [options]%s%s\n\nOptions:\n",
            table->service, command->name, command->doc, table->service, command->name,
            command->synopsis ? " " : "", command->synopsis ? command->synopsis : "");
    for (const struct conf_option *o = command->options; o && o->name; o++)
        print_option(out, o);
    print_option(out, conf_line_option(0));
    print_option(out, conf_line_option(1));
}

void conf_print_help(FILE *out, const struct conf_table *table, const struct conf_command *commands)
{
    fprintf(out, "penstock-%s: %s\n\nUsage: penstock-%s [options]%s\n\nOptions:\n", table->service,
            table->summary, table->service, commands && commands->name ? " [command]" : "");
    for (size_t i = 0; conf_line_option(i)->name; i++)
        print_option(out, conf_line_option(i));
    if (commands && commands->name) {
        fputs("\nCommands (with --help behind it each says more):\n", out);
        for (; commands->name; commands++)
            fprintf(out, "  %-18s %s\n", commands->name, commands->doc);
    }
    fputs("\nKeys; later wins: default, file, environment (the name in brackets), --set.\n", out);
    for (const struct conf_key *key = table->keys, *last = NULL; key->path; last = key++) {
        if (!last || !conf_is_same_group(key->path, last->path))
            fprintf(out, "\n%.*s\n",
                    strchr(key->path, '.') ? (int)strcspn(key->path, ".") : (int)strlen("general"),
                    strchr(key->path, '.') ? key->path : "general");
        print_key_help(out, table, key);
    }
}

/* A cell of a Markdown table: a bar would end it. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void print_code(FILE *out, const char *text)
{
    if (text && *text) {
        fputc('`', out);
        print_cell(out, text);
        fputc('`', out);
    }
    fputs(" | ", out);
}

void conf_print_keys(FILE *out, const struct conf_table *table)
{
    fputs("| name | default | unit | counter | what it is |\n|---|---|---|---|---|\n", out);
    for (const struct conf_key *key = table->keys; key->path; key++) {
        char *rule = conf_allowed(key);

        fputs("| ", out);
        print_code(out, key->path);
        print_code(out, key->fallback);
        fprintf(out, "%s | ", key->unit ? key->unit : "");
        print_code(out, key->counter);
        print_cell(out, key->doc);
        print_cell(out, rule);
        fprintf(out, "%s |\n",
                conf_has_companion(table, key) ? " Secret; or a file by the same name and `File`."
                                               : "");
        free(rule);
    }
}
