//! Tables of SQLite files as a [`Source`](pillion::source::Source) of Pillion tables.
//!
//! ```
//! use pillion::source::{Call, Fetch, Relation, Source};
//! use pillion_sqlite::Sqlite;
//!
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("shop.db");
//! # let application = rusqlite::Connection::open(&path).unwrap();
//! # application.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, total DECIMAL(9,2), placed DATETIME, note)").unwrap();
//! # application.execute_batch("INSERT INTO orders VALUES (7, 1.5, '2024-07-01 12:00:00', x'00')").unwrap();
//! let source = Sqlite::new(&path);
//! let orders = Relation::table("orders").leave_out(["note"]);
//! let call = Call::new();
//! let described = source.describe(&orders, &call)?;
//! let columns: Vec<String> =
//!     described.schema().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
//! assert_eq!(columns, ["id Int64", "total Decimal128(9, 2)", "placed Timestamp(µs)"]);
//! let recent = Fetch::of(orders).condition("placed > '2024-01-01'");
//! let rows: usize = source.fetch(&recent, &call)?.map(|batch| batch.unwrap().num_rows()).sum();
//! assert_eq!(rows, 1);
//! # Ok::<(), pillion::Error>(())
//! ```
//!
//! # What is fetched
//! - [`Relation::table`](pillion::source::Relation::table) names a table, view or virtual table (FTS3 to FTS5, R-tree) of
//!   the file, as it is or written as in SQL: `orders`, `Order Lines`, `"Order Lines"`, `main.orders`.
//! - [`Relation::statement`](pillion::source::Relation::statement) is a query: `SELECT`, `VALUES` or `WITH`.
//! - A [condition](pillion::source::Fetch::condition) is what may follow `WHERE`. Texts stand in single quotation marks;
//!   a name in double ones must be one, except where a view is read.
//! - A [position](pillion::source::Fetch::after) may be of a column of every type but BOOLEAN. It is compared as Pillion compares: texts
//!   by their bytes whatever their collation, times by their moment whatever the form in which they are stored. An
//!   index on the column is used for integers, reals, dates and timestamps, and for texts if its collation is BINARY.
//!
//! | option of a relation | meaning |
//! | --- | --- |
//! | `types` | types of columns, in the place of the declared ones: `at=unix_ms,total=DECIMAL(10,2)` |
//! | `rowid` | a name: the table gets a first column of this name with the rowid, by which rows can be appended. Rowids are given again after rows are deleted, and `VACUUM` may change them, unless the table has an `INTEGER PRIMARY KEY` |
//!
//! A fetch is one read transaction and has one state of all rows. They are as of the moment at which it began, by the clock of this
//! machine. Statements may only read: the connection is opened read-only, and an authorizer refuses everything else,
//! `ATTACH` and `PRAGMA` included.
//!
//! # Types
//! SQLite stores any value in any column. A column has the type that its declaration says:
//!
//! | declared type | Arrow | values |
//! | --- | --- | --- |
//! | `BOOLEAN`, `BOOL` | Boolean | 0 and 1; the texts `true`, `false`, `t`, `f` in any case |
//! | `DECIMAL(p,s)`, `NUMERIC(p,s)`, `DEC`, `NUMBER`, up to 38 digits | Decimal128 | integers; texts of digits; reals, which stand for the decimal of up to 15 digits that they are nearest to |
//! | `DATE` | Date32 | texts `2024-02-29`; midnights in seconds since 1970 or as Julian days |
//! | `TIME` | Time64 in microseconds | texts `12:34`, `12:34:56.789` |
//! | `DATETIME`, `TIMESTAMP` | Timestamp in microseconds, without time zone | see below; texts have no offset from UTC, or `Z` |
//! | `TIMESTAMPTZ`, `TIMESTAMP WITH TIME ZONE` | Timestamp in microseconds, UTC | see below; texts may have an offset |
//! | `TIMESTAMP(7)` to `TIMESTAMP(9)`, and so on | the same in nanoseconds | |
//! | `unix_s`, `unix_ms`, `unix_us`, `unix_ns`, `julian`, in the option `types` | Timestamp in µs, ms, µs, ns, ms, UTC | numbers of that unit since 1970; Julian days, to the millisecond |
//! | `JSON`, `STRING` | Utf8 | texts; numbers in the form in which SQLite shows them |
//! | `UUID`, `GUID` | Utf8 | texts |
//! | `BINARY`, `VARBINARY`, `BYTEA` | Binary | blobs |
//! | what contains `INT` | Int64 | integers |
//! | what contains `CHAR`, `CLOB` or `TEXT` | Utf8 | texts |
//! | what contains `BLOB` | Binary | blobs |
//! | what contains `REAL`, `FLOA` or `DOUB` | Float64 | reals; integers that a real holds exactly |
//! | `NUMERIC` and `DECIMAL` without digits, `ANY`, nothing, everything else | refused | |
//!
//! Timestamps are ISO texts such as `2024-02-29 12:34:56.789` or `2024-02-29T12:34Z`; integers and reals in seconds since 1970;
//! or reals between 1721059.5 and 5373484.5, which are Julian days. SQLite makes an integer of a Julian day at noon, so
//! integers in this range, seconds of January to March 1970, are refused as ambiguous. Texts without an offset and numbers
//! are of UTC, as for SQLite's own functions. All are of the years 0 to 9999.
//!
//! A column that is refused fails the relation with [`UnsupportedType`](pillion::ErrorCode::UnsupportedType), unless the option `types`
//! says what it is, or it is left out or read as text. Columns that a view or a statement computes have no declared type. A
//! value that does not fit fails the fetch with [`SourceInvalid`](pillion::ErrorCode::SourceInvalid), which names the column and the
//! row. Text is what `CAST(… AS TEXT)` gives: reals show 15 digits, and a blob must be a text.
//!
//! A column is nullable unless the table declares it `NOT NULL`, it is the rowid, or it belongs to the key of a table `WITHOUT
//! ROWID`. Columns of views and statements are nullable.
//!
//! # Marks
//! A mark says what the system knows of the file and of its write-ahead log: which files they are, their lengths and times; how far
//! the log is shown to readers; and of which start of the machine all that is. So a change of any table changes the marks of
//! all, and moving the log into the file does too. Times of files advance in steps, so a call waits up to 20 milliseconds
//! after a change. Marks equal no other, so that all rows are fetched again, while the file changes all the time; in the first
//! seconds after a change on a file system whose times are whole seconds; and where this process may not write to the
//! files `-wal` and `-shm`. Do not rely on marks of files on a network, whose times are those of another clock.
//!
//! Rows that are computed with the clock or with chance have no mark that equals another: those of statements, views and conditions that
//! use functions of dates, `CURRENT_TIMESTAMP` or `random`.
//!
//! # Applications that write meanwhile
//! - With `PRAGMA journal_mode = WAL`, nobody waits for anybody. The log cannot be begun anew while a fetch runs, and grows meanwhile.
//! - With a rollback journal, a writer waits until a fetch ends before it commits, or gets `SQLITE_BUSY`. A fetch waits for a
//!   writer that commits, up to [`busy_timeout`](SqliteOptions::busy_timeout).
//! - A file that somebody replaces while it is read fails the fetch, and so does one that is overwritten without regard to its locks.
//!   The latter is not noticed while an application has a write-ahead log open, because then the file changes anyway.
//!
//! # Files
//! Reading creates no file, with one exception: a file whose application crashed, or was copied while it was open, has a
//! write-ahead log without its index, and SQLite creates the file `-shm`. A log whose application has closed the file is not
//! there any more: then the file is read without locks, and a fetch fails if an application opens it and changes it
//! before the last row; the next one reads with locks. [`immutable`](SqliteOptions::immutable) reads any file so.
//!
//! The file itself is opened by SQLite alone, because closing it would give up the locks that other connections of this
//! process hold. Encrypted files cannot be read.
//!
//! # Memory
//! A fetch holds two batches of about 8,192 rows or 4 MiB, and SQLite's page cache of 2 MiB. Statements that sort use temporary files,
//! where the environment variable `SQLITE_TMPDIR` says.

mod authority;
mod catalog;
mod decode;
mod failures;
mod mark;
mod names;
mod opening;
mod options;
mod plan;
mod position;
mod relation_options;
mod rows;
mod session;
mod shape;
mod source;
mod stamps;
mod types;
mod url;
mod worker;

pub use options::SqliteOptions;
pub use source::Sqlite;
