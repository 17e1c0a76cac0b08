/* What `pillion.h` promises, and what becomes of bad input: `contract URL`. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pillion.h"
#include "rows.h"

static _Atomic int checks = 0;

#define CHECK(condition)                                                             \
  do {                                                                               \
    checks++;                                                                        \
    if (!(condition)) {                                                              \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);        \
      exit(1);                                                                       \
    }                                                                                \
  } while (0)

#define OK(call) ok(call, __LINE__)
#define FAILS(call, name) fails(call, name, __LINE__)

static void ok(pillion_error *error, int line) {
  checks++;
  if (error == NULL) return;
  fprintf(stderr, "line %d: %s: %s\n", line, pillion_error_name(error), pillion_error_message(error));
  exit(1);
}

static void fails(pillion_error *error, const char *name, int line) {
  checks++;
  if (error == NULL || strcmp(pillion_error_name(error), name) != 0 || pillion_error_code(error) == 0 ||
      strlen(pillion_error_message(error)) == 0) {
    fprintf(stderr, "line %d: not %s but %s: %s\n", line, name, pillion_error_name(error), pillion_error_message(error));
    exit(1);
  }
  pillion_error_free(error);
}

static pillion_value text(const char *text) {
  return (pillion_value){.kind = PILLION_KIND_TEXT, .data = (const uint8_t *)text, .len = strlen(text)};
}

static pillion_value integer(int64_t integer) {
  return (pillion_value){.kind = PILLION_KIND_INT, .integer = integer};
}

static struct ArrowArrayStream stream_of(const struct flight *flights, int64_t count) {
  struct ArrowArrayStream stream;
  flights_stream(flights, count, &stream);
  return stream;
}

static int64_t rows_of(struct ArrowArrayStream *stream) {
  int64_t rows = 0;
  for (;;) {
    struct ArrowArray batch;
    CHECK(stream->get_next(stream, &batch) == 0);
    if (batch.release == NULL) break;
    rows += batch.length;
    batch.release(&batch);
  }
  stream->release(stream);
  return rows;
}

static int64_t count(const pillion_table *table) {
  struct ArrowArrayStream stream;
  OK(pillion_table_scan(table, NULL, 0, &stream));
  return rows_of(&stream);
}

static int fails_silently(struct ArrowArrayStream *stream, struct ArrowArray *array) {
  (void)stream;
  (void)array;
  return EIO;
}

static const struct flight FLIGHTS[] = {
    {"UA", 1545, 2.0, true}, {"UA", 1714, 4.0, true}, {"AA", 1141, 0.0, false}, {"", -1, -0.5, true}};

static pillion_table *flights_table(const pillion_cache *cache) {
  struct ArrowArrayStream rows = stream_of(FLIGHTS, 4);
  const char *key[] = {"carrier", "flight"};
  pillion_table *table = NULL;
  OK(pillion_cache_create_table(cache, "flights", &rows, key, 2, &table));
  CHECK(rows.release == NULL);
  return table;
}

static void lookups(const pillion_table *table) {
  pillion_value key[] = {text("UA"), integer(1545)};
  pillion_row *row = NULL;
  pillion_value value;
  OK(pillion_table_get(table, key, 2, &row));
  CHECK(row != NULL);
  OK(pillion_row_value(row, 0, &value));
  CHECK(value.kind == PILLION_KIND_TEXT && value.len == 2 && memcmp(value.data, "UA", 2) == 0);
  OK(pillion_row_value(row, 1, &value));
  CHECK(value.kind == PILLION_KIND_INT && value.integer == 1545);
  OK(pillion_row_value(row, 2, &value));
  CHECK(value.kind == PILLION_KIND_FLOAT && value.real == 2.0);
  FAILS(pillion_row_value(row, 3, &value), "ColumnNotFound");
  pillion_row_free(row);

  key[1] = integer(9);
  OK(pillion_table_get(table, key, 2, &row));
  CHECK(row == NULL);
  FAILS(pillion_table_get(table, key, 1, &row), "InvalidKey");
  FAILS(pillion_table_get(table, key, 0, &row), "InvalidKey");
  key[0] = integer(1);
  FAILS(pillion_table_get(table, key, 2, &row), "InvalidKey");
  CHECK(row == NULL);

  pillion_value keys[] = {text("AA"), integer(1141), text("XX"), integer(0), text(""), integer(-1)};
  pillion_rows *rows = NULL;
  OK(pillion_table_get_many(table, keys, 2, 3, &rows));
  CHECK(pillion_rows_len(rows) == 3);
  CHECK(pillion_rows_get(rows, 1) == NULL && pillion_rows_get(rows, 3) == NULL);
  OK(pillion_row_value(pillion_rows_get(rows, 0), 2, &value));
  CHECK(value.kind == PILLION_KIND_NULL);
  OK(pillion_row_value(pillion_rows_get(rows, 2), 0, &value));
  CHECK(value.kind == PILLION_KIND_TEXT && value.len == 0);
  struct ArrowArrayStream found;
  OK(pillion_rows_stream(rows, &found));
  pillion_rows_free(rows);
  CHECK(rows_of(&found) == 2);
  OK(pillion_table_get_many(table, NULL, 2, 0, &rows));
  CHECK(pillion_rows_len(rows) == 0);
  OK(pillion_rows_stream(rows, &found));
  CHECK(rows_of(&found) == 0);
  pillion_rows_free(rows);
  FAILS(pillion_table_get_many(table, keys, 0, 3, &rows), "InvalidArgument");
  FAILS(pillion_table_get_many(table, keys, SIZE_MAX, 3, &rows), "InvalidArgument");
}

static void columns(const pillion_table *table) {
  size_t column = 7;
  OK(pillion_table_column(table, "delay", &column));
  CHECK(column == 2);
  FAILS(pillion_table_column(table, "dely", &column), "ColumnNotFound");
  struct ArrowSchema schema;
  OK(pillion_table_schema(table, &schema));
  CHECK(schema.n_children == 3 && strcmp(schema.children[1]->name, "flight") == 0);
  schema.release(&schema);
  const char *names[] = {"delay", "carrier"};
  struct ArrowArrayStream stream;
  OK(pillion_table_scan(table, names, 2, &stream));
  CHECK(stream.get_schema(&stream, &schema) == 0);
  CHECK(schema.n_children == 2 && strcmp(schema.children[0]->name, "delay") == 0);
  schema.release(&schema);
  CHECK(rows_of(&stream) == 4);
  names[0] = "nope";
  FAILS(pillion_table_scan(table, names, 2, &stream), "ColumnNotFound");
}

static void writes(const pillion_table *table) {
  const struct flight changed[] = {{"UA", 1545, 9.0, true}, {"B6", 1, 1.0, true}};
  struct ArrowArrayStream rows = stream_of(changed, 2);
  FAILS(pillion_table_append(table, &rows), "DuplicateKey");
  CHECK(rows.release == NULL && count(table) == 4);
  rows = stream_of(changed, 2);
  OK(pillion_table_upsert(table, &rows));
  CHECK(count(table) == 5);
  pillion_value key[] = {text("B6"), integer(1)};
  OK(pillion_table_delete(table, key, 2));
  OK(pillion_table_delete(table, key, 2));
  CHECK(count(table) == 4);
  FAILS(pillion_table_append(table, &rows), "InvalidArgument");
  FAILS(pillion_table_append(table, NULL), "InvalidArgument");
  rows = stream_of(changed, 2);
  rows.get_next = fails_silently;
  FAILS(pillion_table_append(table, &rows), "SourceInvalid");
  CHECK(rows.release == NULL && count(table) == 4);
  rows = stream_of(FLIGHTS, 4);
  OK(pillion_table_replace(table, &rows));
  CHECK(count(table) == 4);
}

static void bad_input(const pillion_cache *cache, const pillion_table *table) {
  pillion_cache *other = (pillion_cache *)1;
  FAILS(pillion_open(NULL, &other), "InvalidArgument");
  CHECK(other == NULL);
  FAILS(pillion_open("/proc/nothing", NULL), "InvalidArgument");
  FAILS(pillion_open("\xff", &other), "InvalidArgument");
  FAILS(pillion_open_read_only("/nowhere", &other), "NotACache");
  FAILS(pillion_from_url("gopher:x", &other), "InvalidArgument");
  FAILS(pillion_connect("/nowhere.sock", 9, 100, &other), "InvalidArgument");
  pillion_error *error = pillion_connect("/nowhere.sock", PILLION_ATTACH_NEVER, 100, &other);
  CHECK(error != NULL && pillion_error_action(error) == PILLION_ACTION_RETRY && other == NULL);
  pillion_error_free(error);
  pillion_table *none = (pillion_table *)1;
  FAILS(pillion_cache_table(cache, "flihts", &none), "TableNotFound");
  CHECK(none == NULL);
  FAILS(pillion_cache_table(NULL, "flights", &none), "InvalidArgument");
  FAILS(pillion_cache_table(cache, NULL, &none), "InvalidArgument");
  struct ArrowArrayStream rows = stream_of(FLIGHTS, 4);
  FAILS(pillion_cache_create_table(cache, "x", &rows, NULL, 3, &none), "InvalidArgument");
  CHECK(rows.release == NULL);
  pillion_row *row = NULL;
  pillion_value value = {.kind = 99};
  FAILS(pillion_table_get(table, &value, 1, &row), "InvalidArgument");
  FAILS(pillion_table_get(table, NULL, 2, &row), "InvalidArgument");
  FAILS(pillion_table_get(NULL, &value, 1, &row), "InvalidArgument");
  FAILS(pillion_table_get(table, &value, 1, NULL), "InvalidArgument");
  FAILS(pillion_row_value(NULL, 0, &value), "InvalidArgument");
  FAILS(pillion_cache_close(NULL), "InvalidArgument");
  CHECK(pillion_rows_len(NULL) == 0 && pillion_rows_get(NULL, 0) == NULL);
  CHECK(pillion_error_code(NULL) == 0 && strcmp(pillion_error_message(NULL), "") == 0);
  CHECK(strcmp(pillion_cache_way(NULL), "") == 0);
  pillion_cache_free(NULL);
  pillion_table_free(NULL);
  pillion_row_free(NULL);
  pillion_rows_free(NULL);
  pillion_error_free(NULL);
}

static void *read_on(void *table) {
  for (int64_t at = 0; at < 2000; at++) {
    pillion_value key[] = {text("UA"), integer(at % 2 == 0 ? 1545 : 1714)};
    pillion_row *row = NULL;
    pillion_value value;
    OK(pillion_table_get(table, key, 2, &row));
    OK(pillion_row_value(row, 2, &value));
    CHECK(value.real == (at % 2 == 0 ? 2.0 : 4.0));
    pillion_row_free(row);
  }
  return NULL;
}

static void threads(pillion_table *table) {
  pthread_t readers[4];
  for (int at = 0; at < 4; at++) CHECK(pthread_create(&readers[at], NULL, read_on, table) == 0);
  for (int at = 0; at < 4; at++) CHECK(pthread_join(readers[at], NULL) == 0);
}

int main(int argc, char **argv) {
  CHECK(argc == 2);
  pillion_cache *cache = NULL;
  OK(pillion_from_url(argv[1], &cache));
  const char *way = pillion_cache_way(cache);
  pillion_table *table = flights_table(cache);
  lookups(table);
  columns(table);
  bad_input(cache, table);
  writes(table);
  threads(table);

  /* What was read stays when everything else is gone. */
  pillion_value key[] = {text("UA"), integer(1714)};
  pillion_row *row = NULL;
  struct ArrowArrayStream stream;
  OK(pillion_table_get(table, key, 2, &row));
  OK(pillion_table_scan(table, NULL, 0, &stream));
  OK(pillion_cache_close(cache));
  struct ArrowArrayStream rows = stream_of(FLIGHTS, 4);
  FAILS(pillion_table_upsert(table, &rows), "Closed");
  pillion_cache_free(cache);
  pillion_table_free(table);
  pillion_value value;
  OK(pillion_row_value(row, 2, &value));
  CHECK(value.real == 4.0);
  pillion_row_free(row);
  CHECK(rows_of(&stream) == 4);
  printf("%s: %d checks\n", way, checks);
  return 0;
}
