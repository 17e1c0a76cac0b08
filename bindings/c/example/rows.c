/* Rows of flights as an Arrow stream, made by hand. */
#include "rows.h"

#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 3 };

static const char *const NAMES[COLUMNS] = {"carrier", "flight", "delay"};
/* A text, a 64-bit integer and a 64-bit float, as the C data interface writes them. */
static const char *const FORMATS[COLUMNS] = {"u", "l", "g"};

struct rows {
  struct flight *flights;
  int64_t count;
  bool read;
};

static void *allocate(size_t len) {
  void *memory = calloc(1, len > 0 ? len : 1);
  if (memory == NULL) abort();
  return memory;
}

static void release_schema(struct ArrowSchema *schema) {
  for (int64_t at = 0; at < schema->n_children; at++) {
    struct ArrowSchema *child = schema->children[at];
    if (child->release != NULL) child->release(child);
    free(child);
  }
  free(schema->children);
  schema->release = NULL;
}

static void fill_schema(struct ArrowSchema *schema, const char *format, const char *name) {
  memset(schema, 0, sizeof(*schema));
  schema->format = format;
  schema->name = name;
  schema->flags = ARROW_FLAG_NULLABLE;
  schema->release = release_schema;
}

static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *schema) {
  (void)stream;
  fill_schema(schema, "+s", "");
  schema->n_children = COLUMNS;
  schema->children = allocate(COLUMNS * sizeof(*schema->children));
  for (int at = 0; at < COLUMNS; at++) {
    schema->children[at] = allocate(sizeof(struct ArrowSchema));
    fill_schema(schema->children[at], FORMATS[at], NAMES[at]);
  }
  return 0;
}

static void release_array(struct ArrowArray *array) {
  for (int64_t at = 0; at < array->n_children; at++) {
    struct ArrowArray *child = array->children[at];
    if (child->release != NULL) child->release(child);
    free(child);
  }
  free(array->children);
  for (int64_t at = 0; at < array->n_buffers; at++) free((void *)array->buffers[at]);
  free(array->buffers);
  array->release = NULL;
}

static void fill_array(struct ArrowArray *array, int64_t len, int64_t buffers) {
  memset(array, 0, sizeof(*array));
  array->length = len;
  array->n_buffers = buffers;
  array->buffers = allocate((size_t)buffers * sizeof(*array->buffers));
  array->release = release_array;
}

static void fill_carriers(struct ArrowArray *array, const struct rows *rows) {
  int32_t *offsets = allocate((size_t)(rows->count + 1) * sizeof(*offsets));
  for (int64_t at = 0; at < rows->count; at++) {
    offsets[at + 1] = offsets[at] + (int32_t)strlen(rows->flights[at].carrier);
  }
  char *texts = allocate((size_t)offsets[rows->count]);
  for (int64_t at = 0; at < rows->count; at++) {
    memcpy(texts + offsets[at], rows->flights[at].carrier, (size_t)(offsets[at + 1] - offsets[at]));
  }
  fill_array(array, rows->count, 3);
  array->buffers[1] = offsets;
  array->buffers[2] = texts;
}

static void fill_numbers(struct ArrowArray *array, const struct rows *rows) {
  int64_t *numbers = allocate((size_t)rows->count * sizeof(*numbers));
  for (int64_t at = 0; at < rows->count; at++) numbers[at] = rows->flights[at].number;
  fill_array(array, rows->count, 2);
  array->buffers[1] = numbers;
}

static void fill_delays(struct ArrowArray *array, const struct rows *rows) {
  double *delays = allocate((size_t)rows->count * sizeof(*delays));
  uint8_t *valid = allocate((size_t)(rows->count + 7) / 8);
  fill_array(array, rows->count, 2);
  for (int64_t at = 0; at < rows->count; at++) {
    delays[at] = rows->flights[at].delay;
    if (rows->flights[at].has_delay) {
      valid[at / 8] |= (uint8_t)(1 << (at % 8));
    } else {
      array->null_count++;
    }
  }
  array->buffers[0] = valid;
  array->buffers[1] = delays;
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *array) {
  struct rows *rows = stream->private_data;
  if (rows->read) {
    memset(array, 0, sizeof(*array));
    return 0;
  }
  rows->read = true;
  fill_array(array, rows->count, 1);
  array->n_children = COLUMNS;
  array->children = allocate(COLUMNS * sizeof(*array->children));
  for (int at = 0; at < COLUMNS; at++) array->children[at] = allocate(sizeof(struct ArrowArray));
  fill_carriers(array->children[0], rows);
  fill_numbers(array->children[1], rows);
  fill_delays(array->children[2], rows);
  return 0;
}

static const char *get_last_error(struct ArrowArrayStream *stream) {
  (void)stream;
  return NULL;
}

static void release_stream(struct ArrowArrayStream *stream) {
  struct rows *rows = stream->private_data;
  for (int64_t at = 0; at < rows->count; at++) free((char *)rows->flights[at].carrier);
  free(rows->flights);
  free(rows);
  stream->release = NULL;
}

void flights_stream(const struct flight *flights, int64_t count, struct ArrowArrayStream *stream) {
  struct rows *rows = allocate(sizeof(*rows));
  rows->count = count;
  rows->flights = allocate((size_t)count * sizeof(*rows->flights));
  for (int64_t at = 0; at < count; at++) {
    size_t len = strlen(flights[at].carrier) + 1;
    rows->flights[at] = flights[at];
    rows->flights[at].carrier = memcpy(allocate(len), flights[at].carrier, len);
  }
  stream->get_schema = get_schema;
  stream->get_next = get_next;
  stream->get_last_error = get_last_error;
  stream->release = release_stream;
  stream->private_data = rows;
}
