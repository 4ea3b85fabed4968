/* Completions: the words that a shell gets, and that no text of ours breaks out of its quotes.
 * tests/e2e/test_cli.py asks real shells. */
#include "conf/reading.h"
#include "conf_fixture.h"

static const struct conf_option options[] = {
    {"--form", "long|short", "of it: [one], it's \\ said"},
    {NULL, NULL, NULL},
};
static const struct conf_command commands[] = {
    {.name = "dig", .doc = "Digs: it's deep.", .synopsis = "up|down FILE", .options = options},
    {.name = NULL},
};

static char *script(const char *shell)
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    bool is_known = conf_print_completion(out, shell, &sample_table, commands);

    fclose(out);
    if (is_known)
        return text;
    free(text);
    return NULL;
}

static void has(const char *shell, const char *text)
{
    char *all = script(shell);

    ck_assert_msg(strstr(all, text) != NULL, "%s: no %s in %s", shell, text, all);
    free(all);
}

START_TEST(words_of_each_shell)
{
    has("bash", "    dig) words=' up down --form --config --set --help' ;;\n");
    has("bash", "    --form)\n        mapfile -t COMPREPLY < <(compgen -W ' long short' --");
    has("bash", " tunnel.lanes= ");
    has("zsh", "    'dig:Digs\\: it'\\''s deep.'\n");
    has("zsh", "'--form[of it\\: \\[one\\], it'\\''s \\\\ said]:word:( long short)'");
    has("zsh", "'*--set[");
    has("fish", " -a dig -d 'Digs: it'\\''s deep.'\n");
    has("fish", " -l form -d 'of it: [one], it'\\''s \\\\ said' -x -a ' long short'\n");
}
END_TEST

START_TEST(no_secret_is_offered)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};

    for (size_t i = 0; i < ARRAY_LEN(shells); i++)
        for (const struct conf_key *key = sample_table.keys; key->path; key++) {
            char *text = script(shells[i]), *word = must_printf(" %s=", key->path),
                 *bare = must_printf(" %s ", key->path), *last = must_printf(" %s'", key->path);

            ck_assert_int_eq(strstr(text, word) || strstr(text, bare) || strstr(text, last),
                             key->kind != CONF_SECRET);
            free(last);
            free(text);
            free(word);
            free(bare);
        }
    ck_assert_ptr_null(script("tcsh"));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {words_of_each_shell, no_secret_is_offered};

    return run_suite("conf_completion", tests, ARRAY_LEN(tests));
}
