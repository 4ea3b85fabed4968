/* wire_vector_fixture - the vectors of api/vectors, and the text that each file is. */
#ifndef TESTS_UNIT_WIRE_VECTOR_FIXTURE_H
#define TESTS_UNIT_WIRE_VECTOR_FIXTURE_H

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VECTORS_MAX    400
#define BYTES_MAX      100000
#define LINE_MAX_BYTES 20000

static char names[VECTORS_MAX][256];
static size_t name_count;

struct vector {
    char as[64], expect[1000];
    char edge_id[80], secret[300]; /* of a proof */
    bool is_written_otherwise;
    uint8_t *bytes; /* owned, exactly as long as n */
    size_t n;
};

static inline void add_hex(struct vector *v, const char *name, char *line)
{
    char *save = NULL;

    for (char *word = strtok_r(line, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
        unsigned byte, times = 1;
        int end = 0, end_times = 0;
        ck_assert_msg(sscanf(word, "%2x%n", &byte, &end) == 1 && end == 2, "%s: %s", name, word);
        if (word[end] == '*')
            ck_assert_msg(sscanf(word + end, "*%u%n", &times, &end_times) == 1, "%s: %s", name,
                          word);
        ck_assert_msg(word[end + end_times] == '\0', "%s: %s", name, word);
        ck_assert_uint_le(v->n + times, BYTES_MAX);
        memset(v->bytes + v->n, (int)byte, times);
        v->n += times;
    }
}

static inline void take(char *out, size_t cap, const char *value)
{
    ck_assert_uint_lt(strlen(value), cap);
    snprintf(out, cap, "%s", value);
}

static inline void add_line(struct vector *v, const char *name, char *line)
{
    char *value = strstr(line, ": ");

    line[strcspn(line, "\n")] = '\0';
    if (*line == '#' || !*line)
        return;
    if (!value) {
        add_hex(v, name, line);
        return;
    }
    *value = '\0';
    value += 2;
    if (strcmp(line, "as") == 0)
        take(v->as, sizeof(v->as), value);
    else if (strcmp(line, "expect") == 0)
        take(v->expect, sizeof(v->expect), value);
    else if (strcmp(line, "edgeId") == 0)
        take(v->edge_id, sizeof(v->edge_id), value);
    else if (strcmp(line, "secret") == 0)
        take(v->secret, sizeof(v->secret), value);
    else if (strcmp(line, "written") == 0 && strcmp(value, "otherwise") == 0)
        v->is_written_otherwise = true;
    else
        ck_abort_msg("%s: what is %s?", name, line);
}

static inline struct vector load(const char *name)
{
    struct vector v = {.n = 0};
    char path[1024], line[LINE_MAX_BYTES];

    snprintf(path, sizeof(path), "%s/%s", SOURCE_DIR "/api/vectors", name);
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s", path);
    v.bytes = malloc(BYTES_MAX);
    ck_assert_ptr_nonnull(v.bytes);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
    ck_assert_msg(*line == '#', "%s does not begin by saying what it is", name);
    while (fgets(line, sizeof(line), f))
        add_line(&v, name, line);
    fclose(f);
    uint8_t *exact = malloc(v.n > 0 ? v.n : 1);
    ck_assert_ptr_nonnull(exact);
    memcpy(exact, v.bytes, v.n);
    free(v.bytes);
    v.bytes = exact;
    return v;
}

static inline void list_vectors(void)
{
    struct dirent *entry;
    DIR *folder = opendir(SOURCE_DIR "/api/vectors");

    while (folder && (entry = readdir(folder))) {
        size_t n = strlen(entry->d_name);
        if (n < 4 || strcmp(entry->d_name + n - 4, ".hex") != 0)
            continue;
        if (name_count == VECTORS_MAX || n >= sizeof(names[0])) {
            fprintf(stderr, "more vectors than this test holds\n");
            exit(1);
        }
        memcpy(names[name_count++], entry->d_name, n + 1);
    }
    if (folder)
        closedir(folder);
}

#endif
