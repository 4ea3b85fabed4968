/* man - the manual pages of a program, from the same tables as its --help: roff of man(7). */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "conf/reading.h"

/* Text for roff: no line of it is a request, no character an escape, a hyphen is one that can be
 * copied into a shell. */
static void put_text(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
}

/* The same as an argument of a request. */
static void put_argument(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"')
            fputs("\\(dq", out);
        else if (*text == '-')
            fputs("\\-", out);
        else if (*text == '\\')
            fputs("\\e", out);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}

/* mandoc wants a new line behind the end of a sentence. */
static void put_sentences(FILE *out, const char *text)
{
    char *copy = must_strdup(text), *from = copy, *end;

    while (*from == ' ')
        from++;
    while ((end = strstr(from, ". ")) != NULL) {
        end[1] = '\0';
        put_text(out, from);
        fputc('\n', out);
        from = end + 2;
    }
    put_text(out, from);
    fputc('\n', out);
    free(copy);
}

static void put_head(FILE *out, const struct conf_table *table, int section, const char *what)
{
    char *name = must_printf("PENSTOCK-%s", table->service);

    for (char *p = name; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    fprintf(out, ".\\\" made by penstock-%s --print-man %d\n.TH ", table->service, section);
    put_argument(out, name);
    fprintf(out, " %d %s \"Penstock %s\"\n.SH NAME\npenstock\\-%s \\- ", section, PENSTOCK_DATE,
            PENSTOCK_VERSION, table->service);
    put_text(out, what);
    fputc('\n', out);
    free(name);
}

static void put_option(FILE *out, const struct conf_option *o)
{
    fputs(".TP\n.B ", out);
    put_text(out, o->name);
    if (o->argument) {
        fputs(" \\fI", out);
        put_text(out, o->argument);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    put_text(out, o->doc);
    fputc('\n', out);
}

static void put_command(FILE *out, const struct conf_command *c)
{
    fputs(".TP\n.B ", out);
    put_text(out, c->name);
    if (c->synopsis) {
        fputs(" \\fR", out);
        put_text(out, c->synopsis);
    }
    fputc('\n', out);
    put_sentences(out, c->doc);
    if (!c->options)
        return;
    fputs(".RS\n", out);
    for (const struct conf_option *o = c->options; o->name; o++)
        put_option(out, o);
    fputs(".RE\n", out);
}

static void put_rest(FILE *out, const struct conf_table *table)
{
    fprintf(out,
            ".SH SIGNALS\n"
            ".TP\n.B SIGTERM\nends in order: no new connections, those that are open may finish\n"
            "for \\fBdrainSecs\\fR.\nA second one ends at once.\n"
            ".TP\n.B SIGHUP\nreads the configuration again, all of it or nothing.\n"
            ".SH EXIT STATUS\n"
            ".TP\n.B 0\nThe service ended as it was asked to, or a command found all well.\n"
            ".TP\n.B 1\nThe service cannot start or go on, or a command found something wrong.\n"
            ".TP\n.B 2\nThe command line or the configuration is wrong.\n"
            ".TP\n.B 70\nThe service crashed too often in a row; see \\fBlimits.restarts\\fR.\n"
            ".SH FILES\n"
            ".TP\n.I /etc/penstock/%s.json\nthe configuration, where the package's unit looks\n"
            "for it.\n"
            ".TP\n.I /var/lib/penstock/%s\nwhat is made at the first start; see \\fBstateDir\\fR.\n"
            ".SH SEE ALSO\n.BR penstock\\-%s (5)\n",
            table->service, table->service, table->service);
}

void conf_print_man1(FILE *out, const struct conf_table *table, const struct conf_command *commands)
{
    put_head(out, table, 1, table->summary);
    fprintf(out, ".SH SYNOPSIS\n.B penstock\\-%s\n.RI [ options ]\n", table->service);
    if (commands && commands->name)
        fputs(".RI [ command ]\n", out);
    fprintf(out,
            ".SH DESCRIPTION\nWithout a command,\n.B penstock\\-%s\nruns the service.\n"
            "Its keys, each to be given in a file, in the environment or by\n.BR \\-\\-set ,\n"
            "stand in\n.BR penstock\\-%s (5).\n.SH OPTIONS\n",
            table->service, table->service);
    for (size_t i = 0; conf_line_option(i)->name; i++)
        put_option(out, conf_line_option(i));
    if (commands && commands->name)
        fputs(".SH COMMANDS\nThe configuration is read for a command too.\n", out);
    for (; commands && commands->name; commands++)
        put_command(out, commands);
    put_rest(out, table);
}

/* --- section 5: the keys ---------------------------------------------------------------------- */

static void put_key_facts(FILE *out, const struct conf_table *table, const struct conf_key *key)
{
    char *variable = conf_variable(key->path, false);

    if (key->fallback && *key->fallback) {
        fputs("Default: \\fB", out);
        put_text(out, key->fallback);
        fputs("\\fR", out);
        if (key->unit) {
            fputc(' ', out);
            put_text(out, key->unit);
        }
        fputs(".\n", out);
    } else if (key->unit) {
        fputs("In ", out);
        put_text(out, key->unit);
        fputs(".\n", out);
    }
    fputs("Variable:\n.BR ", out);
    put_text(out, variable);
    fputs(" .\n", out);
    if (key->counter) {
        fputs("Counted by\n.BR ", out);
        put_argument(out, key->counter);
        fputs(" .\n", out);
    }
    if (conf_has_companion(table, key)) {
        fputs("A secret; or a file that holds it, by\n.BR ", out);
        put_text(out, key->path);
        fputs("File .\n", out);
    }
    if (key->is_hot)
        fputs("A reload (SIGHUP) may change it.\n", out);
    free(variable);
}

static void put_group(FILE *out, const char *path)
{
    const char *dot = strchr(path, '.');

    fprintf(out, ".SS %.*s\n", dot ? (int)(dot - path) : (int)strlen("general"),
            dot ? path : "general");
}

void conf_print_man5(FILE *out, const struct conf_table *table)
{
    char *what = must_printf("configuration of penstock-%s", table->service);

    put_head(out, table, 5, what);
    free(what);
    fprintf(out,
            ".SH DESCRIPTION\nThe configuration of\n.BR penstock\\-%s (1)\n"
            "is one JSON object; a dot in a key's name is a level of it:\n"
            ".B {\"log\": {\"level\": \"debug\"}}\nis\n.BR log.level .\n"
            "Later wins: default, file\n.RB ( \\-\\-config ),\nenvironment,\n.BR \\-\\-set .\n"
            "An unknown key, a wrong type or a value out of range is an error that names it.\n"
            "Lists and maps are JSON, in the environment too.\n"
            ".SH KEYS\n",
            table->service);
    for (const struct conf_key *key = table->keys, *last = NULL; key->path; last = key++) {
        char *rule = conf_allowed(key);

        if (!last || !conf_is_same_group(key->path, last->path))
            put_group(out, key->path);
        fputs(".TP\n.B ", out);
        put_text(out, key->path);
        fputc('\n', out);
        put_sentences(out, key->doc);
        if (*rule)
            put_sentences(out, rule);
        put_key_facts(out, table, key);
        free(rule);
    }
    fprintf(out, ".SH SEE ALSO\n.BR penstock\\-%s (1)\n", table->service);
}
