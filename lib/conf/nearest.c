/* nearest - which key somebody may have meant, for the message about one that does not exist. */
#include <stdlib.h>
#include <string.h>

#include "conf/reading.h"

#define COMPARED_MAX 96u /* bytes; what is longer is like nothing */
#define DISTANCE_MAX 4u  /* letters too many, too few or wrong */
#define PREFIX       "PENSTOCK_"

/* Levenshtein's distance. */
static size_t distance(const char *a, const char *b)
{
    size_t row[COMPARED_MAX + 1], n = strlen(a), m = strlen(b);

    if (n > COMPARED_MAX || m > COMPARED_MAX)
        return SIZE_MAX;
    for (size_t i = 0; i <= m; i++)
        row[i] = i;
    for (size_t k = 1; k <= n; k++) {
        size_t corner = row[0];

        row[0] = k;
        for (size_t i = 1; i <= m; i++) {
            size_t changed = corner + (a[k - 1] != b[i - 1]);

            corner = row[i];
            row[i] = MIN(changed, MIN(row[i], row[i - 1]) + 1);
        }
    }
    return row[m];
}

static const char *without_prefix(const char *name)
{
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0 ? name + strlen(PREFIX) : name;
}

char *conf_nearest(const struct conf_table *table, const char *text,
                   char *(*spell)(const char *path, bool is_file))
{
    const char *meant = without_prefix(text);
    size_t best = MIN(DISTANCE_MAX, strlen(meant) / 3) + 1;
    char *nearest = NULL;

    for (const struct conf_key *key = table->keys; key->path; key++)
        for (int is_file = 0; is_file <= conf_has_companion(table, key); is_file++) {
            char *name = spell(key->path, is_file);
            size_t far = distance(meant, without_prefix(name));

            if (far < best) {
                best = far;
                free(nearest);
                nearest = name;
            } else {
                free(name);
            }
        }
    return nearest;
}
