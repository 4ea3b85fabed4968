/* completion - what a shell needs to complete the command line of a program: for bash, zsh, fish.
 * All of it comes from the tables, so nothing in the output depends on the machine. */
#include <stdlib.h>
#include <string.h>

#include "conf/reading.h"

/* The text in single quotes, for each of the three shells; `also` gets a backslash in front. */
static void put_quoted(FILE *out, const char *text, const char *also)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr(also, *text))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void put_words(FILE *out, const char *alternatives)
{
    const char *word;
    size_t n;

    while (conf_next_word(&alternatives, &word, &n))
        fprintf(out, " %.*s", (int)n, word);
}

static bool has_words(const char *argument)
{
    return argument && strchr(argument, '|');
}

/* Keys that --set takes. */
static void put_keys(FILE *out, const struct conf_table *table, const char *end)
{
    for (const struct conf_key *key = table->keys; key->path; key++)
        if (key->kind != CONF_SECRET)
            fprintf(out, " %s%s", key->path, end);
}

/* --- bash ------------------------------------------------------------------------------------- */

/* What follows an option that takes an argument. */
static void bash_argument(FILE *out, const struct conf_table *table, const struct conf_option *o)
{
    if (!o->argument)
        return;
    fprintf(out, "    %s)\n", o->name);
    if (has_words(o->argument)) {
        fputs("        mapfile -t COMPREPLY < <(compgen -W '", out);
        put_words(out, o->argument);
        fputs("' -- \"$cur\")\n", out);
    } else if (strcmp(o->argument, "FILE") == 0) {
        fputs("        compopt -o filenames\n"
              "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n",
              out);
    } else if (strcmp(o->argument, "KEY=VALUE") == 0) {
        fputs("        compopt -o nospace\n        mapfile -t COMPREPLY < <(compgen -W '", out);
        put_keys(out, table, "=");
        fputs("' -- \"$cur\")\n", out);
    }
    fputs("        return ;;\n", out);
}

static void bash_command(FILE *out, const struct conf_command *c)
{
    fprintf(out, "    %s) words='", c->name);
    if (has_words(c->synopsis))
        put_words(out, c->synopsis);
    for (const struct conf_option *o = c->options; o && o->name; o++)
        fprintf(out, " %s", o->name);
    fputs(" --config --set --help' ;;\n", out);
}

static void print_bash(FILE *out, const struct conf_table *table,
                       const struct conf_command *commands)
{
    const char *name = table->service;

    fprintf(out,
            "# completion of penstock-%s for bash, made by penstock-%s --print-completion bash\n"
            "_penstock_%s() {\n"
            "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
            "    local command='' words='' i\n"
            "    COMPREPLY=()\n"
            "    # \"=\" is a word of its own to bash\n"
            "    [[ $cur == '=' ]] && cur=''\n"
            "    [[ $prev == '=' ]] && prev=${COMP_WORDS[COMP_CWORD-2]}\n"
            "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
            "        case ${COMP_WORDS[i]} in\n",
            name, name, name);
    for (size_t i = 0; conf_line_option(i)->name; i++)
        if (conf_line_option(i)->argument)
            fprintf(out, "        %s) ((i++)) ;;\n", conf_line_option(i)->name);
    fputs("        =) ((i++)) ;;\n        -*) ;;\n        *) command=${COMP_WORDS[i]}; break ;;\n  "
          "      esac\n    done\n"
          "    case $prev in\n",
          out);
    for (size_t i = 0; conf_line_option(i)->name; i++)
        bash_argument(out, table, conf_line_option(i));
    for (const struct conf_command *c = commands; c && c->name; c++)
        for (const struct conf_option *o = c->options; o && o->name; o++)
            bash_argument(out, table, o);
    fputs("    esac\n    case $command in\n    '') words='", out);
    for (size_t i = 0; conf_line_option(i)->name; i++)
        fprintf(out, " %s", conf_line_option(i)->name);
    for (const struct conf_command *c = commands; c && c->name; c++)
        fprintf(out, " %s", c->name);
    fputs("' ;;\n", out);
    for (const struct conf_command *c = commands; c && c->name; c++)
        bash_command(out, c);
    fprintf(out,
            "    esac\n"
            "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
            "}\n"
            "complete -F _penstock_%s penstock-%s\n",
            name, name);
}

/* --- zsh -------------------------------------------------------------------------------------- */

static void zsh_option(FILE *out, const struct conf_table *table, const struct conf_option *o)
{
    fprintf(out, " \\\n        '%s%s[", strcmp(o->name, "--set") == 0 ? "*" : "", o->name);
    put_quoted(out, o->doc, "[]:\\");
    fputc(']', out);
    if (has_words(o->argument)) {
        fputs(":word:(", out);
        put_words(out, o->argument);
        fputc(')', out);
    } else if (o->argument && strcmp(o->argument, "FILE") == 0) {
        fputs(":file:_files", out);
    } else if (o->argument && strcmp(o->argument, "KEY=VALUE") == 0) {
        fputs(":key:compadd -S = --", out);
        put_keys(out, table, "");
    } else if (o->argument) {
        fputs(":value:", out);
    }
    fputc('\'', out);
}

static void zsh_command(FILE *out, const struct conf_table *table, const struct conf_command *c)
{
    fprintf(out, "    %s) _arguments", c->name);
    for (const struct conf_option *o = c->options; o && o->name; o++)
        zsh_option(out, table, o);
    zsh_option(out, table, conf_line_option(0));
    zsh_option(out, table, conf_line_option(1));
    if (has_words(c->synopsis)) {
        fputs(" \\\n        '1:word:(", out);
        put_words(out, c->synopsis);
        fputs(")' \\\n        '*:file:_files'", out);
    }
    fputs(" ;;\n", out);
}

static void print_zsh(FILE *out, const struct conf_table *table,
                      const struct conf_command *commands)
{
    fprintf(out,
            "#compdef penstock-%s\n"
            "# made by penstock-%s --print-completion zsh\n"
            "local state line curcontext=$curcontext\n"
            "typeset -A opt_args\n"
            "local -a commands\n"
            "commands=(",
            table->service, table->service);
    for (const struct conf_command *c = commands; c && c->name; c++) {
        fprintf(out, "\n    '%s:", c->name);
        put_quoted(out, c->doc, ":\\");
        fputc('\'', out);
    }
    fputs("\n)\n_arguments -C", out);
    for (size_t i = 0; conf_line_option(i)->name; i++)
        zsh_option(out, table, conf_line_option(i));
    fputs(" \\\n        '1: :->command' '*:: :->rest'\n"
          "case $state in\n"
          "command) _describe command commands ;;\n"
          "rest)\n"
          "    case $words[1] in\n",
          out);
    for (const struct conf_command *c = commands; c && c->name; c++)
        zsh_command(out, table, c);
    fputs("    esac ;;\nesac\n", out);
}

/* --- fish ------------------------------------------------------------------------------------- */

/* `when`: a condition in fish, or NULL. */
static void fish_option(FILE *out, const struct conf_table *table, const char *when,
                        const struct conf_option *o)
{
    fprintf(out, "complete -c penstock-%s", table->service);
    if (when)
        fprintf(out, " -n '%s'", when);
    fprintf(out, " -l %s -d '", o->name + 2);
    put_quoted(out, o->doc, "\\");
    fputc('\'', out);
    if (has_words(o->argument)) {
        fputs(" -x -a '", out);
        put_words(out, o->argument);
        fputc('\'', out);
    } else if (o->argument && strcmp(o->argument, "KEY=VALUE") == 0) {
        fputs(" -x -a '", out);
        put_keys(out, table, "=");
        fputc('\'', out);
    } else if (o->argument) {
        fputs(" -r -F", out);
    }
    fputc('\n', out);
}

static void print_fish(FILE *out, const struct conf_table *table,
                       const struct conf_command *commands)
{
    const char *name = table->service;

    fprintf(out,
            "# completion of penstock-%s for fish, made by penstock-%s --print-completion fish\n"
            "complete -c penstock-%s -f\n",
            name, name, name);
    for (size_t i = 0; conf_line_option(i)->name; i++)
        fish_option(out, table, i < 2 ? NULL : "__fish_use_subcommand", conf_line_option(i));
    for (const struct conf_command *c = commands; c && c->name; c++) {
        char *when = must_printf("__fish_seen_subcommand_from %s", c->name);

        fprintf(out, "complete -c penstock-%s -n __fish_use_subcommand -a %s -d '", name, c->name);
        put_quoted(out, c->doc, "\\");
        fputs("'\n", out);
        for (const struct conf_option *o = c->options; o && o->name; o++)
            fish_option(out, table, when, o);
        if (has_words(c->synopsis)) {
            fprintf(out, "complete -c penstock-%s -n '%s' -F -a '", name, when);
            put_words(out, c->synopsis);
            fputs("'\n", out);
        }
        free(when);
    }
}

bool conf_print_completion(FILE *out, const char *shell, const struct conf_table *table,
                           const struct conf_command *commands)
{
    if (strcmp(shell, "bash") == 0)
        print_bash(out, table, commands);
    else if (strcmp(shell, "zsh") == 0)
        print_zsh(out, table, commands);
    else if (strcmp(shell, "fish") == 0)
        print_fish(out, table, commands);
    else
        return false;
    return true;
}
