/* Looks up flights in the cache that a URL names: `lookups file:/tmp/cache`, `lookups unix:/run/pillion/pillion.sock`. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "pillion.h"
#include "rows.h"

static const struct flight FLIGHTS[] = {
    {"UA", 1545, 2.0, true},
    {"UA", 1714, 4.0, true},
    {"AA", 1141, 0.0, false},
};

/* Ends the program at an error, and says what to do about it. */
static void check(pillion_error *error) {
  if (error == NULL) return;
  fprintf(stderr, "%s: %s\n", pillion_error_name(error), pillion_error_message(error));
  pillion_error_free(error);
  exit(1);
}

static pillion_value text(const char *text, size_t len) {
  return (pillion_value){.kind = PILLION_KIND_TEXT, .data = (const uint8_t *)text, .len = len};
}

static pillion_value integer(int64_t integer) {
  return (pillion_value){.kind = PILLION_KIND_INT, .integer = integer};
}

static void print_delay(const pillion_row *row, size_t column) {
  pillion_value delay;
  if (row == NULL) {
    printf("no such flight\n");
    return;
  }
  check(pillion_row_value(row, column, &delay));
  if (delay.kind == PILLION_KIND_NULL) {
    printf("no delay known\n");
  } else {
    printf("delayed by %.1f minutes\n", delay.real);
  }
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: lookups URL\n");
    return 2;
  }
  pillion_cache *cache;
  check(pillion_from_url(argv[1], &cache));
  printf("%s\n", pillion_cache_way(cache));

  struct ArrowArrayStream rows;
  flights_stream(FLIGHTS, sizeof(FLIGHTS) / sizeof(*FLIGHTS), &rows);
  const char *primary_key[] = {"carrier", "flight"};
  pillion_table *flights;
  check(pillion_cache_create_table(cache, "flights", &rows, primary_key, 2, &flights));
  size_t delay;
  check(pillion_table_column(flights, "delay", &delay));

  /* One row: a function call if the files are mapped. */
  pillion_value key[] = {text("UA", 2), integer(1545)};
  pillion_row *row;
  check(pillion_table_get(flights, key, 2, &row));
  print_delay(row, delay);
  pillion_row_free(row);

  /* Several rows of one version. */
  pillion_value keys[] = {text("AA", 2), integer(1141), text("ZZ", 2), integer(1)};
  pillion_rows *found;
  check(pillion_table_get_many(flights, keys, 2, 2, &found));
  for (size_t at = 0; at < pillion_rows_len(found); at++) print_delay(pillion_rows_get(found, at), delay);
  pillion_rows_free(found);

  /* All rows as batches of Arrow. */
  const char *columns[] = {"flight"};
  struct ArrowArrayStream all;
  check(pillion_table_scan(flights, columns, 1, &all));
  int64_t count = 0;
  for (;;) {
    struct ArrowArray batch;
    if (all.get_next(&all, &batch) != 0) {
      fprintf(stderr, "%s\n", all.get_last_error(&all));
      return 1;
    }
    if (batch.release == NULL) break;
    count += batch.length;
    batch.release(&batch);
  }
  all.release(&all);
  printf("%" PRId64 " flights\n", count);

  pillion_table_free(flights);
  check(pillion_cache_close(cache));
  pillion_cache_free(cache);
  return 0;
}
