/*
 * Pillion for C: lookups in a table cache without SQL, and batches by the C interfaces of Arrow. SQL goes through the ADBC driver.
 *
 *   pillion_cache *cache = NULL;
 *   pillion_table *flights = NULL;
 *   pillion_row *row = NULL;
 *   pillion_error *error = pillion_from_url("unix:/run/pillion/pillion.sock", &cache);
 *   if (!error) error = pillion_cache_table(cache, "flights", &flights);
 *   pillion_value key = {.kind = PILLION_KIND_INT, .integer = 1545};
 *   if (!error) error = pillion_table_get(flights, &key, 1, &row);
 *   pillion_value delay;
 *   if (!error && row) error = pillion_row_value(row, 2, &delay);
 *
 * Errors. A call returns null, or an error that says what to do; free it with pillion_error_free. A call that fails sets the handle
 * that it was to give to null, and changes nothing, except where it says otherwise. No call ends the process, and no panic gets out.
 *
 * Ownership. A handle that a call gives belongs to the caller, who frees it once with the function of its type. A handle keeps what it
 * needs: rows and streams are readable after their table, their cache and the sidecar are gone. Texts and bytes of a row belong to
 * the row. Whatever a program passes as an argument stays its own, except Arrow streams of rows: a call takes them, and releases them
 * also if it fails. Streams and schemas that a call gives are released by their own release functions, from any thread.
 *
 * Threads. Any number of threads can use the same cache, table, row and rows at a time. Freeing a handle is the last use of it. One
 * thread at a time reads an Arrow stream, as the interface says. A child of fork() does not use handles of its parent, and does not free
 * them; it opens the cache again.
 */

#ifndef PILLION_H
#define PILLION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* The C interfaces of Arrow, as their documentation has them. A program that has them already skips these. */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4

struct ArrowSchema {
  const char *format;
  const char *name;
  const char *metadata;
  int64_t flags;
  int64_t n_children;
  struct ArrowSchema **children;
  struct ArrowSchema *dictionary;
  void (*release)(struct ArrowSchema *);
  void *private_data;
};

struct ArrowArray {
  int64_t length;
  int64_t null_count;
  int64_t offset;
  int64_t n_buffers;
  int64_t n_children;
  const void **buffers;
  struct ArrowArray **children;
  struct ArrowArray *dictionary;
  void (*release)(struct ArrowArray *);
  void *private_data;
};

#endif /* ARROW_C_DATA_INTERFACE */

#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE

struct ArrowArrayStream {
  int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
  int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
  const char *(*get_last_error)(struct ArrowArrayStream *);
  void (*release)(struct ArrowArrayStream *);
  void *private_data;
};

#endif /* ARROW_C_STREAM_INTERFACE */

// What a caller can do about an error.
typedef enum {
  // Nothing was changed, and the same call can succeed later.
  PILLION_ACTION_RETRY = 0,
  // The request itself is wrong: change it.
  PILLION_ACTION_REQUEST = 1,
  // The source or the rows that were handed over are missing, down or damaged.
  PILLION_ACTION_SOURCE = 2,
  // The call may or may not have taken effect: read before you repeat it.
  PILLION_ACTION_OUTCOME_UNKNOWN = 3,
  // The handle can no longer do that: open the cache again.
  PILLION_ACTION_REOPEN = 4,
  // Damage or a defect: keep the directory, and report it.
  PILLION_ACTION_REPORT = 5,
} pillion_action;

// Whether a client of a sidecar maps the files of the cache instead of asking for their rows.
typedef enum {
  // Maps the files if the directory is readable; otherwise asks the sidecar.
  PILLION_ATTACH_IF_POSSIBLE = 0,
  // Maps the files; connecting fails where that is not possible.
  PILLION_ATTACH_REQUIRE = 1,
  // Asks the sidecar.
  PILLION_ATTACH_NEVER = 2,
} pillion_attach;

// Which kind of value it is, and in which member it stands.
typedef enum {
  // SQL null; no member.
  PILLION_KIND_NULL = 0,
  // `integer`, 0 or 1.
  PILLION_KIND_BOOL = 1,
  // `integer`: a signed integer of any width.
  PILLION_KIND_INT = 2,
  // `natural`: an unsigned integer of any width.
  PILLION_KIND_UINT = 3,
  // `real`: a floating-point number of any width.
  PILLION_KIND_FLOAT = 4,
  // `natural` and `integer`: the lower and the upper 64 bits of an integer with sign, and `scale`: how many of its decimal digits
  // stand after the point.
  PILLION_KIND_DECIMAL = 5,
  // `data` and `len`: UTF-8. No zero ends it.
  PILLION_KIND_TEXT = 6,
  // `data` and `len`.
  PILLION_KIND_BYTES = 7,
  // `integer`: days since 1970-01-01.
  PILLION_KIND_DATE = 8,
  // `integer`: nanoseconds since midnight.
  PILLION_KIND_TIME = 9,
  // `integer` of `unit` since 1970-01-01 00:00:00: a moment in columns with a time zone, and otherwise a reading of a wall clock.
  PILLION_KIND_TIMESTAMP = 10,
} pillion_kind;

// A table cache. Any number of threads can use it at a time.
typedef struct pillion_cache pillion_cache;

// An error that a call returned. Free it with `pillion_error_free`.
typedef struct pillion_error pillion_error;

// One row of a table at one version. Values are read in place when they are asked for, and stay readable after the table has
// changed and after the cache was closed.
typedef struct pillion_row pillion_row;

// Rows for several keys, in the order of the keys, all of one version.
typedef struct pillion_rows pillion_rows;

// A table, at whatever version is newest when a call is made. Any number of threads can use it at a time.
typedef struct pillion_table pillion_table;

// A single value. Zero memory is a null; set `kind` and the members that it names.
typedef struct {
  // A `pillion_kind`.
  uint32_t kind;
  // Of a timestamp: digits of a second after the point, which are 0, 3, 6 or 9.
  uint32_t unit;
  // Of a decimal.
  int32_t scale;
  // Length of `data` in bytes.
  size_t len;
  // See `kind`.
  int64_t integer;
  // See `kind`.
  uint64_t natural;
  // See `kind`.
  double real;
  // See `kind`. Of a value that was read: it belongs to the row, and is valid until the row is freed.
  const uint8_t *data;
} pillion_value;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Opens a cache directory and becomes its owner, or creates it. Blocks on the disk.
//
// # Safety
// `dir` is a text that ends at a zero, and `cache` is memory for a handle.
pillion_error *pillion_open(const char *dir, pillion_cache **cache);

// Opens a cache directory for reading, whether or not another process owns it: maps its files and writes nothing.
//
// # Safety
// As `pillion_open`.
pillion_error *pillion_open_read_only(const char *dir, pillion_cache **cache);

// Connects to a sidecar by the path of its socket; waits for one that is still starting. `attach` is a `pillion_attach`, and each
// call takes at most `deadline_ms` milliseconds, or 60 seconds if it is 0.
//
// # Safety
// `socket` is a text that ends at a zero, and `cache` is memory for a handle.
pillion_error *pillion_connect(const char *socket,
                               uint32_t attach,
                               uint64_t deadline_ms,
                               pillion_cache **cache);

// Opens the cache that a URL names: `file:DIR`, `file:DIR?mode=ro`, `unix:SOCKET`, `unix:SOCKET?attach=never`.
//
// # Safety
// `url` is a text that ends at a zero, and `cache` is memory for a handle.
pillion_error *pillion_from_url(const char *url, pillion_cache **cache);

// How the cache is reached: `embedded`, `attached` or `remote`. The text is a constant. Empty for null.
//
// # Safety
// `cache` is null or a cache that was not freed.
const char *pillion_cache_way(const pillion_cache *cache);

// Finds a table by its exact name. The table keeps the cache open, also after `pillion_cache_free`.
//
// # Safety
// `cache` is a cache that was not freed, `name` a text that ends at a zero, and `table` memory for a handle.
pillion_error *pillion_cache_table(const pillion_cache *cache, const char *name, pillion_table **table);

// Creates a table with its first rows in one commit, with a primary key of `key_len` columns, or with none. If a table of that name
// exists with the same key, it is given out unchanged and the rows are not read: a program can declare its tables at every start.
// Takes the stream, also if it fails.
//
// # Safety
// `cache` is a cache that was not freed, `name` a text that ends at a zero, `rows` a valid stream, `key` points to `key_len` texts that
// end at a zero, and `table` is memory for a handle.
pillion_error *pillion_cache_create_table(const pillion_cache *cache,
                                          const char *name,
                                          struct ArrowArrayStream *rows,
                                          const char *const *key,
                                          size_t key_len,
                                          pillion_table **table);

// Makes everything durable and closes the cache: other handles of it can still read, and further writes are refused. Freeing the last
// handle does the same, but cannot say what went wrong.
//
// # Safety
// `cache` is a cache that was not freed.
pillion_error *pillion_cache_close(const pillion_cache *cache);

// Frees a cache. Null is allowed. Its tables, rows and streams stay usable, and keep it open.
//
// # Safety
// `cache` is null or a cache that was not freed, and is not used afterwards.
void pillion_cache_free(pillion_cache *cache);

// The number of an error, which never changes; 0 for null.
//
// # Safety
// `error` is null or an error that was not freed.
uint16_t pillion_error_code(const pillion_error *error);

// The name of an error's code, such as `TableNotFound`. It belongs to the error. Empty for null.
//
// # Safety
// `error` is null or an error that was not freed.
const char *pillion_error_name(const pillion_error *error);

// What went wrong and what to do about it, in words. It belongs to the error. Empty for null.
//
// # Safety
// `error` is null or an error that was not freed.
const char *pillion_error_message(const pillion_error *error);

// What to do about an error; `PILLION_ACTION_REPORT` for null.
//
// # Safety
// `error` is null or an error that was not freed.
pillion_action pillion_error_action(const pillion_error *error);

// Frees an error. Null is allowed.
//
// # Safety
// `error` is null or an error that was not freed, and is not used afterwards.
void pillion_error_free(pillion_error *error);

// Reads the value in a column, by position from 0. Texts and bytes belong to the row: they are valid until it is freed.
//
// Fails with `ColumnNotFound`, and with `TypeMismatch` for nested values, which are read as Arrow (`pillion_rows_stream`).
//
// # Safety
// `row` is a row that was not freed, and `value` is memory for a value.
pillion_error *pillion_row_value(const pillion_row *row,
                                 size_t column,
                                 pillion_value *value);

// Frees a row that `pillion_table_get` gave. Null is allowed. Rows of `pillion_rows` are freed with these.
//
// # Safety
// `row` is null or such a row that was not freed. Neither it nor texts and bytes of it are used afterwards.
void pillion_row_free(pillion_row *row);

// How many keys the rows are for; 0 for null.
//
// # Safety
// `rows` is null or rows that were not freed.
size_t pillion_rows_len(const pillion_rows *rows);

// The row for the key at a position from 0; null if there is none, and behind the last. It belongs to the rows: do not free it.
//
// # Safety
// `rows` is null or rows that were not freed.
const pillion_row *pillion_rows_get(const pillion_rows *rows,
                                    size_t position);

// Puts the rows that were found into an Arrow stream, in one batch. The stream is independent of the rows.
//
// # Safety
// `rows` are rows that were not freed, and `stream` is memory for a stream. What it has before is not released.
pillion_error *pillion_rows_stream(const pillion_rows *rows, struct ArrowArrayStream *stream);

// Frees rows, and with them each single one. Null is allowed.
//
// # Safety
// `rows` is null or rows that were not freed. Neither they nor anything of them is used afterwards.
void pillion_rows_free(pillion_rows *rows);

// Finds the position of a column, from 0.
//
// # Safety
// `table` is a table that was not freed, `name` a text that ends at a zero, and `column` memory for the position.
pillion_error *pillion_table_column(const pillion_table *table, const char *name, size_t *column);

// Puts the columns of a table into an Arrow schema, which the caller releases.
//
// # Safety
// `table` is a table that was not freed, and `columns` memory for a schema. What it has before is not released.
pillion_error *pillion_table_schema(const pillion_table *table, struct ArrowSchema *columns);

// Finds the row with a primary key, which is one value for each of its columns, in their order. `row` becomes null if there is none.
// Free the row with `pillion_row_free`.
//
// A function call if the cache is embedded or attached: no message, no copy. A remote one waits for the sidecar.
//
// # Safety
// `table` is a table that was not freed, `key` points to `key_len` values, and `row` is memory for a handle.
pillion_error *pillion_table_get(const pillion_table *table,
                                 const pillion_value *key,
                                 size_t key_len,
                                 pillion_row **row);

// Finds the rows with several primary keys, all of one version. The keys stand one after another, each of `key_len` values. Free the
// rows with `pillion_rows_free`.
//
// # Safety
// `table` is a table that was not freed, `keys` points to `key_len * count` values, and `rows` is memory for a handle.
pillion_error *pillion_table_get_many(const pillion_table *table,
                                      const pillion_value *keys,
                                      size_t key_len,
                                      size_t count,
                                      pillion_rows **rows);

// Puts all rows of one version into an Arrow stream: those with all columns if `columns` is null, and otherwise those with
// `column_len` of them. The batches are views of the mapped files if the cache is embedded or attached. The stream is independent of
// the table.
//
// # Safety
// `table` is a table that was not freed, `columns` is null or points to `column_len` texts that end at a zero, and `rows` is memory for a
// stream. What it has before is not released.
pillion_error *pillion_table_scan(const pillion_table *table,
                                  const char *const *columns,
                                  size_t column_len,
                                  struct ArrowArrayStream *rows);

// Adds rows in one commit. Takes the stream, also if it fails; nothing is changed then.
//
// # Safety
// `table` is a table that was not freed, and `rows` a valid stream.
pillion_error *pillion_table_append(const pillion_table *table, struct ArrowArrayStream *rows);

// Adds rows, replacing those with the same primary keys, in one commit. Takes the stream, also if it fails; nothing is changed then.
//
// # Safety
// As `pillion_table_append`.
pillion_error *pillion_table_upsert(const pillion_table *table,
                                    struct ArrowArrayStream *rows);

// Replaces all rows in one commit. Takes the stream, also if it fails; nothing is changed then.
//
// # Safety
// As `pillion_table_append`.
pillion_error *pillion_table_replace(const pillion_table *table, struct ArrowArrayStream *rows);

// Removes the row with a primary key in one commit. A missing row is not an error.
//
// # Safety
// `table` is a table that was not freed, and `key` points to `key_len` values.
pillion_error *pillion_table_delete(const pillion_table *table, const pillion_value *key, size_t key_len);

// Frees a table. Null is allowed. Rows and streams of it stay usable.
//
// # Safety
// `table` is null or a table that was not freed, and is not used afterwards.
void pillion_table_free(pillion_table *table);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PILLION_H */
