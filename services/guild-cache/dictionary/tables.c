// Prints the head that zstd puts before a dictionary's content, in hex: tables CONTENT SAMPLES SIZES
#define ZDICT_STATIC_LINKING_ONLY
#include <stdio.h>
#include <stdlib.h>
#include "zdict.h"

static char *all(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) { perror(path); exit(1); }
    fseek(file, 0, SEEK_END);
    *size = ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    if (fread(bytes, 1, *size, file) != *size) { perror(path); exit(1); }
    bytes[*size] = 0;
    return bytes;
}

int main(int count, char **paths) {
    size_t content_size, samples_size, sizes_size, room = 1 << 20;
    if (count != 4) return 2;
    char *content = all(paths[1], &content_size), *samples = all(paths[2], &samples_size), *sizes_text = all(paths[3], &sizes_size);
    size_t *sizes = malloc(sizeof(size_t) * (sizes_size + 1));
    unsigned n = 0;
    for (char *at = sizes_text; *at; ) { sizes[n++] = strtoul(at, &at, 10); while (*at == '\n') at++; }
    unsigned char *made = malloc(room);
    ZDICT_params_t params = { .compressionLevel = 1, .notificationLevel = 0, .dictID = 3 };
    size_t size = ZDICT_finalizeDictionary(made, room, content, content_size, samples, sizes, n, params);
    if (ZDICT_isError(size)) { fprintf(stderr, "%s\n", ZDICT_getErrorName(size)); return 1; }
    for (size_t at = 0; at < size - content_size; at++) printf("%02x", made[at]);
    return 0;
}
