/* load - conf_load(): the command line of a service. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "conf/reading.h"

/* What the options ask for; the first of them wins. */
enum wish { WISH_RUN, WISH_HELP, WISH_VERSION, WISH_KEYS, WISH_CHECK, WISH_PRINT };

struct line {
    enum wish wish;
    const char *file;  /* borrowed from argv */
    const char **sets; /* owned, NULL-ended; the texts are argv's */
    size_t sets_count;
    const char *command; /* borrowed from the commands */
    char **rest;         /* in argv, NULL-ended: what is left behind the command */
    size_t rest_count;
    char *why; /* owned: what is wrong with the line, or NULL */
};

static void wish(struct line *l, enum wish what)
{
    if (l->wish == WISH_RUN)
        l->wish = what;
}

/* The value of "--name VALUE" or "--name=VALUE"; NULL when this is another option. */
static const char *value_of(struct line *l, const char *name, int argc, char **argv, int *i)
{
    size_t n = strlen(name);

    if (strncmp(argv[*i], name, n) != 0 || (argv[*i][n] != '=' && argv[*i][n] != '\0'))
        return NULL;
    if (argv[*i][n] == '=')
        return argv[*i] + n + 1;
    if (*i + 1 >= argc) {
        l->why = must_printf("%s needs a value", name);
        return NULL;
    }
    return argv[++*i];
}

/* --config and --set, which stand before or behind a command.  True: taken. */
static bool take_source(struct line *l, int argc, char **argv, int *i)
{
    const char *value = value_of(l, "--config", argc, argv, i);

    if (value) {
        if (l->file)
            l->why = must_strdup("--config stands twice");
        l->file = value;
        return true;
    }
    if (!l->why)
        value = value_of(l, "--set", argc, argv, i);
    if (value)
        l->sets[l->sets_count++] = value;
    return value || l->why;
}

static bool take_flag(struct line *l, const char *option)
{
    static const struct {
        const char *name;
        enum wish wish;
    } flags[] = {
        {"--help", WISH_HELP},       {"-h", WISH_HELP},       {"--version", WISH_VERSION},
        {"--print-keys", WISH_KEYS}, {"--check", WISH_CHECK}, {"--print-config", WISH_PRINT},
    };

    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (strcmp(option, flags[i].name) == 0) {
            wish(l, flags[i].wish);
            return true;
        }
    return false;
}

/* The options that are a key by a name of its own. */
static bool take_key(struct line *l, const char *option)
{
    if (strcmp(option, "--no-supervise") != 0)
        return false;
    l->sets[l->sets_count++] = "supervise=false";
    return true;
}

static const char *find_command(const struct conf_command *commands, const char *name)
{
    for (; commands && commands->name; commands++)
        if (strcmp(commands->name, name) == 0)
            return commands->name;
    return NULL;
}

/* What stands behind the command is moved together in argv, so that `rest` is one array. */
static void parse_line(struct line *l, const struct conf_command *commands, int argc, char **argv)
{
    bool is_over = false; /* behind "--" nothing is an option of ours */

    for (int i = 1; i < argc && !l->why; i++) {
        if (l->command && !is_over && strcmp(argv[i], "--") == 0) {
            is_over = true;
        } else if (!is_over && take_source(l, argc, argv, &i)) {
            continue;
        } else if (l->command) {
            l->rest[l->rest_count++] = argv[i];
        } else if (take_flag(l, argv[i]) || take_key(l, argv[i])) {
            continue;
        } else if (argv[i][0] == '-') {
            l->why = must_printf("%s: no such option (--help lists them)", argv[i]);
        } else if ((l->command = find_command(commands, argv[i])) != NULL) {
            l->rest = argv + i + 1;
        } else {
            l->why = must_printf("%s: no such command (--help lists them)", argv[i]);
        }
    }
    if (l->rest)
        l->rest[l->rest_count] = NULL;
}

static void tell_faults(const struct conf_table *table, const struct json_check *faults)
{
    for (size_t i = 0; i < faults->count; i++)
        fprintf(stderr, "penstock-%s: %s\n", table->service, faults->faults[i].detail);
    if (faults->total > faults->count)
        fprintf(stderr, "penstock-%s: and %zu more\n", table->service,
                faults->total - faults->count);
}

static enum conf_verdict read_and_tell(const struct conf_table *table, const struct line *l,
                                       char **environ_, void *conf)
{
    struct json_check faults;
    enum conf_verdict verdict = CONF_RUN;
    char *unknown = conf_unknown_variables(table, environ_);

    if (unknown)
        log_warn("conf", "unknown_variables", LOG_S("names", unknown));
    free(unknown);
    json_check_init(&faults);
    if (conf_read(table, l->file, environ_, l->sets, conf, &faults) != 0) {
        tell_faults(table, &faults);
        verdict = CONF_BAD;
    }
    json_check_fini(&faults);
    return verdict;
}

static enum conf_verdict grant(const struct conf_table *table, const struct line *l,
                               char **environ_, void *conf)
{
    enum conf_verdict verdict = read_and_tell(table, l, environ_, conf);

    if (verdict != CONF_RUN || l->wish == WISH_RUN)
        return verdict;
    if (l->wish == WISH_PRINT) {
        struct json_object *shown = conf_emit(table, conf);
        puts(json_object_to_json_string_ext(shown, JSON_C_TO_STRING_PRETTY |
                                                       JSON_C_TO_STRING_NOSLASHESCAPE));
        json_object_put(shown);
    }
    conf_free(table, conf);
    return CONF_DONE;
}

enum conf_verdict conf_load(const struct conf_table *table, const struct conf_command *commands,
                            int argc, char **argv, char **environ_, void *conf,
                            const char **command, char ***rest)
{
    struct line l = {.wish = WISH_RUN};
    enum conf_verdict verdict = CONF_DONE;

    l.sets = must_alloc(((size_t)argc + 1) * sizeof(*l.sets));
    parse_line(&l, commands, argc, argv);
    if (l.why) {
        fprintf(stderr, "penstock-%s: %s\n", table->service, l.why);
        verdict = CONF_BAD;
    } else if (l.wish == WISH_HELP) {
        conf_print_help(stdout, table, commands);
    } else if (l.wish == WISH_VERSION) {
        printf("penstock-%s %s\n", table->service, PENSTOCK_VERSION);
    } else if (l.wish == WISH_KEYS) {
        conf_print_keys(stdout, table);
    } else {
        verdict = grant(table, &l, environ_, conf);
    }
    if (command)
        *command = l.command;
    if (rest)
        *rest = l.rest;
    free(l.sets);
    free(l.why);
    return verdict;
}
