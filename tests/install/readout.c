/* A readout that pushes samples as they come, through the C API: samples from a file; pixels, row
 * by row (planes, then mask), and clusters to another. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "skipstream/skipstream.h"

static void write_rows(void* out, const skipstream_rows* rows) {
  const size_t n_cols = (size_t)rows->n_cols;
  for (int64_t r = 0; r < rows->n_rows; ++r) {
    for (size_t p = 0; p < rows->n_planes; ++p) {
      fwrite(rows->planes[p] + r * rows->n_cols, sizeof(double), n_cols, out);
    }
    fwrite(rows->mask + r * rows->n_cols, sizeof(uint32_t), n_cols, out);
  }
}

static void* read_file(const char* path, size_t* n_bytes) {
  FILE* in = fopen(path, "rb");
  if (in == NULL) return NULL;
  fseek(in, 0, SEEK_END);
  *n_bytes = (size_t)ftell(in);
  rewind(in);
  char* content = calloc(*n_bytes + 1, 1);
  if (content != NULL && fread(content, 1, *n_bytes, in) != *n_bytes) *n_bytes = 0;
  fclose(in);
  return content;
}

int main(int n_arguments, char** arguments) {
  if (n_arguments < 9) {
    fputs("usage: readout_c CONFIG SAMPLES TYPE N_ROWS N_COLS N_SKIPS RESULT PIECE...\n", stderr);
    return 2;
  }
  size_t n_bytes = 0;
  char* text = read_file(arguments[1], &n_bytes);
  char* samples = read_file(arguments[2], &n_bytes);
  FILE* out = fopen(arguments[7], "wb");
  if (text == NULL || samples == NULL || out == NULL) return 2;

  skipstream_config* config = NULL;
  if (skipstream_config_create(text, arguments[1], &config) != SKIPSTREAM_OK) {
    fprintf(stderr, "%s\n", skipstream_config_error(config));
    return 1;
  }
  skipstream_image_info info = {.struct_size = sizeof info};
  skipstream_image_info_init(&info, config);
  info.sample_type = strcmp(arguments[3], "u2") == 0 ? SKIPSTREAM_UINT16 : SKIPSTREAM_INT32;
  info.n_rows = atoll(arguments[4]);
  info.n_cols = atoll(arguments[5]);
  info.n_skips = atoll(arguments[6]);
  skipstream_options options = {.struct_size = sizeof options};
  skipstream_options_init(&options);
  options.user = out;
  options.on_rows = write_rows;
  skipstream_image* image = NULL;
  skipstream_status status = skipstream_image_begin(config, &info, &options, &image);
  skipstream_config_destroy(config);

  int piece = 8;
  for (size_t at = 0; at < n_bytes && status == SKIPSTREAM_OK;) {
    size_t n = (size_t)atoll(arguments[piece]);
    if (n > n_bytes - at) n = n_bytes - at;
    status = skipstream_image_push(image, samples + at, n);
    at += n;
    if (++piece == n_arguments) piece = 8;
  }
  if (status == SKIPSTREAM_OK) status = skipstream_image_finish(image);
  if (status != SKIPSTREAM_OK) {
    fprintf(stderr, "%s\n", skipstream_image_error(image));
    return 1;
  }
  const skipstream_table* clusters = skipstream_image_table(image, "clusters");
  fwrite(clusters->cells, sizeof(skipstream_cell), clusters->n_rows * clusters->n_columns, out);
  skipstream_image_destroy(image);
  free(text);
  free(samples);
  return fclose(out) == 0 ? 0 : 1;
}
