/* replay - runs a fuzz target once over each file of its corpus, where libFuzzer is not built in.
 *
 * usage: fuzz_NAME CORPUS_FOLDER.  Ends 1 when the folder is missing or empty: a corpus that is
 * not there must not count as passed.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data;
    long size;

    if (!file || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0) {
        perror(path);
        return -1;
    }
    rewind(file);
    data = malloc((size_t)size + 1); /* exact but for one byte, so that ASan sees an overread */
    if (!data || fread(data, 1, (size_t)size, file) != (size_t)size) {
        perror(path);
        return -1;
    }
    fclose(file);
    uint8_t *exact = realloc(data, size > 0 ? (size_t)size : 1);
    LLVMFuzzerTestOneInput(exact ? exact : data, (size_t)size);
    free(exact ? exact : data);
    return 0;
}

int main(int argc, char **argv)
{
    struct dirent *entry;
    unsigned done = 0;
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;

    if (!folder) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 1;
    }
    while ((entry = readdir(folder))) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
        if (replay_file(path) != 0)
            return 1;
        done++;
    }
    closedir(folder);
    printf("%u inputs replayed\n", done);
    return done ? 0 : 1;
}
