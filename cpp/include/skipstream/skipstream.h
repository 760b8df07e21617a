/* skipstream for programs in C99: the rows of skipper-CCD images in, pixels and clusters out.
 *
 * A config is read once, and serves any number of images, also in several threads. An image is the
 * readout of one amplifier; it belongs to one thread at a time, and different images know nothing
 * of each other. The life of an image is begin, push (any number of times), finish or abort,
 * destroy. docs/embedding.md has a whole program.
 *
 * What the library promises. All memory is taken, and everything is checked, in begin: between
 * begin and finish nothing is allocated, as long as no stage is a barrier (see skipstream_plan). No
 * call lets a C++ exception out, prints, ends the program, sets a signal handler, or asks the
 * locale; none makes a thread but skipstream_queue_begin. Callbacks run inside of the call that
 * made their data, in the caller's thread.
 *
 * Errors. Calls that can fail return a skipstream_status; the text that says where, what, and what
 * would be right belongs to the handle, and lives until its next call.
 *
 * Versions. Structs that the caller fills begin with their size, and get their defaults from an
 * _init function; structs that the library fills are only ever given longer. */
#ifndef SKIPSTREAM_H
#define SKIPSTREAM_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SKIPSTREAM_EXPORT __attribute__((visibility("default")))
#else
#define SKIPSTREAM_EXPORT
#endif

#ifdef __cplusplus
#define SKIPSTREAM_NOEXCEPT noexcept
extern "C" {
#else
#define SKIPSTREAM_NOEXCEPT
#endif

/* Grows when a program must be compiled anew. */
#define SKIPSTREAM_ABI_VERSION 1

/* Compare with SKIPSTREAM_ABI_VERSION before anything else, where the library is not linked in. */
SKIPSTREAM_EXPORT uint32_t skipstream_abi_version(void) SKIPSTREAM_NOEXCEPT;
/* Such as "0.1.0". */
SKIPSTREAM_EXPORT const char* skipstream_version(void) SKIPSTREAM_NOEXCEPT;

typedef int32_t skipstream_status;
enum {
  SKIPSTREAM_OK = 0,
  SKIPSTREAM_CONFIG_ERROR = 1, /* the config, or what is said of the image, cannot be carried out */
  SKIPSTREAM_USAGE_ERROR = 2,  /* a call out of order, or with what cannot be meant */
  SKIPSTREAM_BUSY = 3,         /* another call is inside of this image; no text */
  SKIPSTREAM_NO_MEMORY = 4,    /* the system gives no more */
  SKIPSTREAM_IO_ERROR = 5,     /* the temporary file of a barrier */
  SKIPSTREAM_TABLE_FULL = 6,   /* of finish: all is done, but a table had no room for all rows */
  SKIPSTREAM_ABORTED = 7,      /* of on_end alone */
  SKIPSTREAM_INTERNAL_ERROR = 8 /* a callback threw, or a mistake of the library */
};

typedef struct skipstream_config skipstream_config;
typedef struct skipstream_image skipstream_image;

/* Reads and checks the text of a config, the same TOML as of `skipstream run`. `name`, such as its
 * file's, begins each message; NULL: "config". Where it fails, *config has the text of the error
 * (all mistakes, a line each); it is NULL only where there is no memory. */
SKIPSTREAM_EXPORT skipstream_status skipstream_config_create(
    const char* text, const char* name, skipstream_config** config) SKIPSTREAM_NOEXCEPT;
/* Of the last call with this handle; "" where there was no error. Never NULL. */
SKIPSTREAM_EXPORT const char* skipstream_config_error(const skipstream_config* config)
    SKIPSTREAM_NOEXCEPT;
/* NULL is fine. Images that were begun do not need the config any more. */
SKIPSTREAM_EXPORT void skipstream_config_destroy(skipstream_config* config) SKIPSTREAM_NOEXCEPT;

/* ---- what is said of an image before its first row --------------------------------------- */

typedef int32_t skipstream_sample_type;
enum {
  SKIPSTREAM_INT8 = 0,
  SKIPSTREAM_UINT8 = 1,
  SKIPSTREAM_INT16 = 2,
  SKIPSTREAM_UINT16 = 3,
  SKIPSTREAM_INT32 = 4,
  SKIPSTREAM_UINT32 = 5,
  SKIPSTREAM_INT64 = 6,
  SKIPSTREAM_UINT64 = 7,
  SKIPSTREAM_FLOAT32 = 8,
  SKIPSTREAM_FLOAT64 = 9
};

/* A number of the image's header, for stages that name a keyword: gain = "GAIN". */
typedef struct skipstream_card {
  const char* keyword;
  double value;
} skipstream_card;

/* Columns are counted in pixels, in the order of the readout: prescan, active, overscan. */
typedef struct skipstream_image_info {
  size_t struct_size;                 /* sizeof(skipstream_image_info) */
  const char* amplifier;              /* for tables amplifier = number; "EXT1" */
  int64_t n_rows;                     /* -1: not known beforehand */
  int64_t n_cols;                     /* pixels of a row */
  int64_t n_skips;                    /* samples of a pixel */
  skipstream_sample_type sample_type; /* SKIPSTREAM_UINT16 */
  int32_t is_big_endian;              /* 0 */
  double scale;                       /* 1; the value is scale * sample + zero */
  double zero;                        /* 0 */
  int32_t has_blank;                  /* 0 */
  int32_t has_end_skip;               /* 0 */
  int64_t blank;                      /* the integer that stands for a missing sample */
  int64_t prescan_cols;
  int64_t overscan_cols;
  int64_t prescan_rows;
  int64_t overscan_rows;
  int64_t begin_skip; /* skips used: half-open, negative counts from the end */
  int64_t end_skip;
  const char* unit; /* of the samples: "adu" */
  const skipstream_card* cards;
  size_t n_cards;
  const uint32_t* mask; /* (n_rows, n_cols) bits of pixels known to be bad; NULL: none */
} skipstream_image_info;

/* Fills in the defaults, and what [input] of the config says (NULL: nothing). struct_size must be
 * set. Texts point into the config. */
SKIPSTREAM_EXPORT void skipstream_image_info_init(
    skipstream_image_info* info, const skipstream_config* config) SKIPSTREAM_NOEXCEPT;

/* ---- what comes back ---------------------------------------------------------------------- */

/* Rows that leave a stage; all of it is valid until the callback returns. A pixel whose bits of the
 * mask are 0 has nothing against it; the bits are those of the FITS files (docs/files.md). */
typedef struct skipstream_rows {
  int64_t first_row;
  int64_t n_rows;
  int64_t n_cols;
  size_t n_planes;
  const double* const* planes; /* each (n_rows, n_cols), C order; plane 0 is the value */
  const uint32_t* mask;        /* (n_rows, n_cols) */
} skipstream_rows;

typedef union skipstream_cell {
  int64_t integer;
  double floating;
} skipstream_cell;

/* Rows of a table, such as "clusters". */
typedef struct skipstream_table {
  const char* name;
  size_t n_rows;
  size_t n_columns;
  const skipstream_cell* cells; /* (n_rows, n_columns), C order */
  const char* const* column_names;
  const char* const* column_units;
  const uint8_t* is_integer; /* by column: which member of its cells is live */
  int64_t n_lost;            /* rows so far that found no room in the table */
} skipstream_table;

/* Number of a column; n_columns where there is none of that name. */
SKIPSTREAM_EXPORT size_t skipstream_table_column(const skipstream_table* table,
                                                 const char* name) SKIPSTREAM_NOEXCEPT;

/* What a row is like when its skips have been reduced: in the overscan where that has 3 columns or
 * more, else in the active pixels. NaN: not known. */
typedef struct skipstream_row_statistics {
  int64_t row;
  double pedestal;     /* median, in the unit of the samples */
  double noise;        /* 1.4826 MAD */
  double noise_e;      /* in electrons, where calibrate has a known gain */
  int64_t n_flagged;   /* pixels of the row with a bit in the mask, before stages on pixels */
  int64_t n_saturated; /* pixels of the row */
  int64_t n_missing;   /* pixels of the row that lack samples, some or all */
} skipstream_row_statistics;

/* An [[alarm]] of the config whose condition has come true. */
typedef struct skipstream_alarm {
  size_t number;     /* in the config */
  const char* name;  /* of the config, or the condition */
  const char* when;  /* the condition, such as "noise_e > 0.25 for 5 rows" */
  int64_t first_row; /* since which it holds; 0 of what is of the whole image */
  int64_t row;       /* the last one so far */
  double value;      /* of that row, or of the image */
} skipstream_alarm;

/* What is wanted of an image. Callbacks may be NULL; they must not call this image. */
typedef struct skipstream_options {
  size_t struct_size; /* sizeof(skipstream_options) */
  void* user;         /* handed to the callbacks */
  /* Pixel rows, in order, each once. */
  void (*on_rows)(void* user, const skipstream_rows* rows);
  /* The stage after which on_rows sees them, the last one of that name; NULL: the last stage. */
  const char* rows_after;
  /* Rows of tables as they are made: clusters in the order in which they end, without what only the
   * whole table tells (nearest_distance is NaN). */
  void (*on_table_rows)(void* user, const skipstream_table* rows);
  /* Statistics of each row, before stages on pixels. */
  void (*on_row_statistics)(void* user, const skipstream_row_statistics* row);
  /* Alarms, when they come; those of the whole image in finish. Commands are not started here. */
  void (*on_alarm)(void* user, const skipstream_alarm* alarm);
  /* The image has ended: OK or TABLE_FULL by finish, ABORTED by abort, else what failed. */
  void (*on_end)(void* user, skipstream_status status);
  int64_t max_table_rows;   /* 65536: room of each table; further rows are counted, and seen by
                               on_table_rows alone */
  int64_t memory_bytes;     /* -1: any; begin fails where the image would need more */
  int64_t spool_bytes;      /* 48 MiB: of a barrier's rows in memory; the others go to a file */
  const char* spool_folder; /* "/tmp": of that file, which has no name */
  /* NULL: none. Memory for samples, pixels, masks and tables of the image, in huge or locked pages
   * or wherever it is wanted; begin fails where it is less than plan.arena_bytes. It is the
   * caller's again after destroy. Texts and lists, which do not grow with the image, come from the
   * system. */
  void* arena;
  size_t arena_bytes;
} skipstream_options;

SKIPSTREAM_EXPORT void skipstream_options_init(skipstream_options* options) SKIPSTREAM_NOEXCEPT;

/* What will happen, known before the first sample. */
typedef struct skipstream_plan {
  int64_t total_bytes; /* of memory, at most */
  int64_t delay_rows;  /* rows that are held back because their neighbours are needed */
  int64_t arena_bytes; /* that an arena must have; also where there is none, to ask for it */
  int32_t has_barrier; /* a stage needs the whole image: rows leave it in finish alone */
} skipstream_plan;

/* ---- an image ------------------------------------------------------------------------------ */

/* Checks everything and takes all memory. Where it fails, *image has the text of the error, and is
 * good for skipstream_image_destroy alone; it is NULL only where there is no memory. `options` may
 * be NULL. Nothing that the structs point to is needed afterwards, but `user`. */
SKIPSTREAM_EXPORT skipstream_status skipstream_image_begin(
    const skipstream_config* config, const skipstream_image_info* info,
    const skipstream_options* options, skipstream_image** image) SKIPSTREAM_NOEXCEPT;
/* Of the last call with this handle; "" where there was no error. Never NULL. */
SKIPSTREAM_EXPORT const char* skipstream_image_error(const skipstream_image* image)
    SKIPSTREAM_NOEXCEPT;
SKIPSTREAM_EXPORT const skipstream_plan* skipstream_image_plan(const skipstream_image* image)
    SKIPSTREAM_NOEXCEPT;
/* Planes of the rows that on_rows sees, such as "mean" in "electron"; NULL beyond the last one. */
SKIPSTREAM_EXPORT const char* skipstream_image_plane_name(const skipstream_image* image,
                                                          size_t plane) SKIPSTREAM_NOEXCEPT;
SKIPSTREAM_EXPORT const char* skipstream_image_plane_unit(const skipstream_image* image,
                                                          size_t plane) SKIPSTREAM_NOEXCEPT;

/* The next samples, in the order of the readout (skips fastest, then columns, then rows): many
 * rows, one, or a part of one. They are read in place; the memory is the caller's again on return.
 */
SKIPSTREAM_EXPORT skipstream_status skipstream_image_push(skipstream_image* image,
                                                          const void* samples,
                                                          size_t n_bytes) SKIPSTREAM_NOEXCEPT;
/* The next samples did not arrive: their pixels are reduced from the others and flagged. */
SKIPSTREAM_EXPORT skipstream_status
skipstream_image_push_lost(skipstream_image* image, int64_t n_samples) SKIPSTREAM_NOEXCEPT;
/* The next rows did not arrive: NaN, and flagged. */
SKIPSTREAM_EXPORT skipstream_status
skipstream_image_push_missing(skipstream_image* image, int64_t n_rows) SKIPSTREAM_NOEXCEPT;
/* Rows that are begun, or there as a whole. */
SKIPSTREAM_EXPORT int64_t skipstream_image_rows_pushed(const skipstream_image* image)
    SKIPSTREAM_NOEXCEPT;
/* Ends the image: rows that were held back and clusters that were open leave, tables are sorted and
 * completed (which takes memory). What did not come is missing. */
SKIPSTREAM_EXPORT skipstream_status skipstream_image_finish(skipstream_image* image)
    SKIPSTREAM_NOEXCEPT;
/* Ends the image as it is: what was held back does not leave. */
SKIPSTREAM_EXPORT skipstream_status skipstream_image_abort(skipstream_image* image)
    SKIPSTREAM_NOEXCEPT;
/* A whole table by its name, such as "clusters", in order after finish; NULL where there is none.
 * Valid until the next call with this image. */
SKIPSTREAM_EXPORT const skipstream_table* skipstream_image_table(
    skipstream_image* image, const char* name) SKIPSTREAM_NOEXCEPT;
/* A number that a stage found out, such as "noise" of "find_clusters"; NaN where there is none. */
SKIPSTREAM_EXPORT double skipstream_image_finding(const skipstream_image* image, const char* stage,
                                                  const char* name) SKIPSTREAM_NOEXCEPT;
/* NULL is fine. */
SKIPSTREAM_EXPORT void skipstream_image_destroy(skipstream_image* image) SKIPSTREAM_NOEXCEPT;

/* ---- for readouts that must not wait ------------------------------------------------------- */

/* A queue takes the samples of one image from one thread, and a thread of its own reduces them: the
 * callbacks run there. The results are the same. */
typedef struct skipstream_queue skipstream_queue;

typedef int32_t skipstream_queue_policy;
enum {
  SKIPSTREAM_BLOCK = 0, /* push waits for room */
  SKIPSTREAM_DROP = 1,  /* all samples of a push that has no room are lost: counted, and flagged */
  SKIPSTREAM_SPILL = 2  /* they wait in a temporary file; lost where that cannot be written */
};

typedef struct skipstream_queue_options {
  size_t struct_size;             /* sizeof(skipstream_queue_options) */
  skipstream_queue_policy policy; /* SKIPSTREAM_BLOCK */
  int64_t max_bytes;              /* 64 MiB of samples that wait in memory, taken at once */
  const char* spill_folder;       /* "/tmp": of the temporary file, which has no name */
  void* arena;                    /* NULL: none. For what waits; max_bytes + 2 MiB do */
  size_t arena_bytes;
} skipstream_queue_options;

SKIPSTREAM_EXPORT void skipstream_queue_options_init(skipstream_queue_options* options)
    SKIPSTREAM_NOEXCEPT;

typedef struct skipstream_queue_state {
  int64_t waiting_bytes;     /* in memory and in the file, now */
  int64_t max_waiting_bytes; /* so far */
  int64_t spilled_bytes;     /* that went through the file so far */
  int64_t dropped_samples;   /* so far; the file of the readout has them still */
} skipstream_queue_state;

/* Takes the memory and starts the thread, for an image that was begun. It belongs to the queue
 * until finish or abort, and must live until destroy. Where it fails, *queue has the text of the
 * error. */
SKIPSTREAM_EXPORT skipstream_status
skipstream_queue_begin(skipstream_image* image, const skipstream_queue_options* options,
                       skipstream_queue** queue) SKIPSTREAM_NOEXCEPT;
/* Of the last call with this handle; "" where there was no error. Never NULL. */
SKIPSTREAM_EXPORT const char* skipstream_queue_error(const skipstream_queue* queue)
    SKIPSTREAM_NOEXCEPT;
/* The next samples, whole ones; they are copied. Returns what ended the queue's thread, if it has
 * ended. */
SKIPSTREAM_EXPORT skipstream_status skipstream_queue_push(skipstream_queue* queue,
                                                          const void* samples,
                                                          size_t n_bytes) SKIPSTREAM_NOEXCEPT;
/* The next samples did not arrive. */
SKIPSTREAM_EXPORT skipstream_status
skipstream_queue_push_lost(skipstream_queue* queue, int64_t n_samples) SKIPSTREAM_NOEXCEPT;
/* May be asked by any thread. */
SKIPSTREAM_EXPORT skipstream_queue_state skipstream_queue_state_now(const skipstream_queue* queue)
    SKIPSTREAM_NOEXCEPT;
/* Waits until all samples are reduced, and finishes the image. */
SKIPSTREAM_EXPORT skipstream_status skipstream_queue_finish(skipstream_queue* queue)
    SKIPSTREAM_NOEXCEPT;
/* Forgets the samples that wait, and aborts the image. */
SKIPSTREAM_EXPORT skipstream_status skipstream_queue_abort(skipstream_queue* queue)
    SKIPSTREAM_NOEXCEPT;
/* Before that of its image; aborts what was not finished. NULL is fine. */
SKIPSTREAM_EXPORT void skipstream_queue_destroy(skipstream_queue* queue) SKIPSTREAM_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
