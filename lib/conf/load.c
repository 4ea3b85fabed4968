/* load - conf_load(): the command line of a service. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "conf/reading.h"

/* What the options ask for; the first of them wins. */
enum wish {
    WISH_RUN,
    WISH_HELP,
    WISH_VERSION,
    WISH_KEYS,
    WISH_MAN,
    WISH_COMPLETION,
    WISH_CHECK,
    WISH_PRINT
};

/* What an option is for. */
enum part {
    PART_FILE, /* --config */
    PART_SET,  /* --set */
    PART_KEY,  /* a key by a name of its own: `set` */
    PART_WISH,
};

static const struct line_option {
    struct conf_option shown;
    enum part part;
    enum wish wish;
    const char *set;
} line_options[] = {
    {{"--config", "FILE", "read the JSON file FILE"}, PART_FILE, WISH_RUN, NULL},
    {{"--set", "KEY=VALUE", "give one key a value; may be repeated; not for secrets"},
     PART_SET,
     WISH_RUN,
     NULL},
    {{"--check", NULL, "check the configuration, print nothing when it is right"},
     PART_WISH,
     WISH_CHECK,
     NULL},
    {{"--print-config", NULL, "print what is in force, secrets masked"},
     PART_WISH,
     WISH_PRINT,
     NULL},
    {{"--print-keys", NULL, "print the keys as a Markdown table"}, PART_WISH, WISH_KEYS, NULL},
    {{"--print-man", "1|5", "print the manual page of the program (1) or of its keys (5)"},
     PART_WISH,
     WISH_MAN,
     NULL},
    {{"--print-completion", "bash|zsh|fish", "print the completion for a shell"},
     PART_WISH,
     WISH_COMPLETION,
     NULL},
    {{"--no-supervise", NULL, "run without a supervising parent process"},
     PART_KEY,
     WISH_RUN,
     "supervise=false"},
    {{"--version", NULL, "print the version"}, PART_WISH, WISH_VERSION, NULL},
    {{"--help", NULL, "print this, or behind a command what it does"}, PART_WISH, WISH_HELP, NULL},
};

const struct conf_option *conf_line_option(size_t i)
{
    static const struct conf_option end = {.name = NULL};

    return i < ARRAY_LEN(line_options) ? &line_options[i].shown : &end;
}

struct line {
    enum wish wish;
    const char *wished; /* borrowed from argv: its argument, or NULL */
    const char *file;   /* borrowed from argv */
    const char **sets;  /* owned, NULL-ended; the texts are argv's */
    size_t sets_count;
    const struct conf_command *command; /* borrowed */
    char **rest;                        /* in argv, NULL-ended: what is left behind the command */
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

static bool is_argument_allowed(const char *allowed, const char *value)
{
    const char *word;
    size_t n;

    if (!strchr(allowed, '|'))
        return true;
    while (conf_next_word(&allowed, &word, &n))
        if (strlen(value) == n && memcmp(value, word, n) == 0)
            return true;
    return false;
}

static void apply(struct line *l, const struct line_option *o, const char *value)
{
    switch (o->part) {
    case PART_FILE:
        if (l->file)
            l->why = must_strdup("--config stands twice");
        l->file = value;
        break;
    case PART_SET:
        l->sets[l->sets_count++] = value;
        break;
    case PART_KEY:
        l->sets[l->sets_count++] = o->set;
        break;
    case PART_WISH:
        if (l->wish == WISH_RUN)
            l->wished = value;
        wish(l, o->wish);
        break;
    }
}

/* An option of every program.  True: taken, or `why` says what is wrong with it. */
static bool take_option(struct line *l, int argc, char **argv, int *i)
{
    for (size_t k = 0; k < ARRAY_LEN(line_options); k++) {
        const struct line_option *o = &line_options[k];
        const char *value = NULL;

        if (o->shown.argument)
            value = value_of(l, o->shown.name, argc, argv, i);
        else if (strcmp(argv[*i], o->shown.name) != 0)
            continue;
        if (l->why)
            return true;
        if (o->shown.argument && !value)
            continue;
        if (value && !is_argument_allowed(o->shown.argument, value))
            l->why = must_printf("%s: must be one of %s", o->shown.name, o->shown.argument);
        else
            apply(l, o, value);
        return true;
    }
    return false;
}

/* Of these options, those that are taken behind a command as well: the others may be its own. */
static bool is_for_all(const char *option)
{
    static const char *const all[] = {"--config", "--set", "--help", "-h"};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        size_t n = strlen(all[i]);

        if (strncmp(option, all[i], n) == 0 && (option[n] == '\0' || option[n] == '='))
            return true;
    }
    return false;
}

static const struct conf_command *find_command(const struct conf_command *commands,
                                               const char *name)
{
    for (; commands && commands->name; commands++)
        if (strcmp(commands->name, name) == 0)
            return commands;
    return NULL;
}

/* What stands behind the command, up to a "--". */
static void check_rest(struct line *l, const char *argument)
{
    const struct conf_option *o = l->command->options;

    if (strncmp(argument, "--", 2) != 0)
        return;
    for (; o && o->name; o++) {
        size_t n = strlen(o->name);

        if (strncmp(argument, o->name, n) == 0 && (argument[n] == '\0' || argument[n] == '='))
            return;
    }
    l->why = must_printf("%s: %s: no such option (%s --help lists them)", l->command->name,
                         argument, l->command->name);
}

/* What stands behind the command is moved together in argv, so that `rest` is one array. */
static void parse_line(struct line *l, const struct conf_command *commands, int argc, char **argv)
{
    bool is_over = false; /* behind "--" nothing is an option of ours */

    for (int i = 1; i < argc && !l->why; i++) {
        bool is_ours = !is_over && (!l->command || is_for_all(argv[i]));

        if (l->command && !is_over && strcmp(argv[i], "--") == 0) {
            is_over = true;
        } else if (is_ours && strcmp(argv[i], "-h") == 0) {
            wish(l, WISH_HELP);
        } else if (is_ours && take_option(l, argc, argv, &i)) {
            continue;
        } else if (l->command) {
            if (!is_over)
                check_rest(l, argv[i]);
            l->rest[l->rest_count++] = argv[i];
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

static void warn_of_unknown_variables(const struct conf_table *table, char **environ_)
{
    char *unknown = conf_unknown_variables(table, environ_);

    if (unknown)
        log_warn("conf", "unknown_variables", LOG_S("names", unknown));
    free(unknown);
}

static enum conf_verdict read_and_tell(const struct conf_table *table, const struct line *l,
                                       char **environ_, void *conf)
{
    struct json_check faults;
    enum conf_verdict verdict = CONF_RUN;

    json_check_init(&faults);
    if (l->wish == WISH_CHECK) /* a start may have others' variables about it, a check none */
        conf_refuse_unknown_variables(table, environ_, &faults);
    else
        warn_of_unknown_variables(table, environ_);
    if (conf_read(table, l->file, environ_, l->sets, conf, &faults) != 0) {
        if (l->command && l->command->on_faults)
            l->command->on_faults(table, &faults, l->rest);
        else
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

/* What needs no configuration.  True: printed. */
static bool print_wish(const struct conf_table *table, const struct conf_command *commands,
                       const struct line *l)
{
    switch (l->wish) {
    case WISH_HELP:
        if (l->command)
            conf_print_command_help(stdout, table, l->command);
        else
            conf_print_help(stdout, table, commands);
        return true;
    case WISH_VERSION:
        printf("penstock-%s %s\n", table->service, PENSTOCK_VERSION);
        return true;
    case WISH_KEYS:
        conf_print_keys(stdout, table);
        return true;
    case WISH_MAN:
        if (*l->wished == '1')
            conf_print_man1(stdout, table, commands);
        else
            conf_print_man5(stdout, table);
        return true;
    case WISH_COMPLETION:
        must(conf_print_completion(stdout, l->wished, table, commands));
        return true;
    case WISH_RUN:
    case WISH_CHECK:
    case WISH_PRINT:
        break;
    }
    return false;
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
    } else if (!print_wish(table, commands, &l)) {
        verdict = grant(table, &l, environ_, conf);
    }
    if (command)
        *command = l.command ? l.command->name : NULL;
    if (rest)
        *rest = l.rest;
    free(l.sets);
    free(l.why);
    return verdict;
}
