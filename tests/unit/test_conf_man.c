/* The manual pages: what is an escape or a request in roff stays text. */
#include "conf/reading.h"
#include "conf_fixture.h"

static const struct conf_option options[] = {
    {"--out", "FILE", "it's written there, \\ and all"},
    {NULL, NULL, NULL},
};
static const struct conf_command commands[] = {
    {.name = "dig", .doc = ".Digs deep. 'And more.", .synopsis = "a|b", .options = options},
    {.name = NULL},
};

static char *page(int section)
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    if (section == 1)
        conf_print_man1(out, &sample_table, commands);
    else
        conf_print_man5(out, &sample_table);
    fclose(out);
    return text;
}

START_TEST(the_program)
{
    char *text = page(1);

    ck_assert_ptr_nonnull(strstr(text, "\n.TH \"PENSTOCK\\-SAMPLE\" 1 "));
    ck_assert_ptr_nonnull(strstr(text, "\n.B \\-\\-config \\fIFILE\\fR\n"));
    ck_assert_ptr_nonnull(strstr(text, "\n.B dig \\fRa|b\n\\&.Digs deep.\n\\&'And more.\n"));
    ck_assert_ptr_nonnull(strstr(text, "\n.B \\-\\-out \\fIFILE\\fR\nit's written there, \\e and"));
    free(text);
}
END_TEST

START_TEST(its_keys)
{
    char *text = page(5);

    for (const struct conf_key *key = sample_table.keys; key->path; key++) {
        char *line = must_printf("\n.TP\n.B %s\n", key->path);

        ck_assert_msg(strstr(text, line) != NULL, "%s is missing", key->path);
        free(line);
    }
    ck_assert_ptr_nonnull(strstr(text, "\n.SS tunnel\n"));
    ck_assert_ptr_nonnull(strstr(text, "\n.BR PENSTOCK_TUNNEL__LANES .\n"));
    ck_assert_ptr_nonnull(strstr(text, "Default: \\fB16\\fR lanes.\n"));
    free(text);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {the_program, its_keys};

    return run_suite("conf_man", tests, ARRAY_LEN(tests));
}
