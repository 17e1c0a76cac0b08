//! Tables of PostgreSQL, version 13 or newer, as a [`Source`](pillion::source::Source) of Pillion tables.
//!
//! ```no_run
//! use pillion::source::{Call, Fetch, Relation, Source};
//! use pillion_postgres::Postgres;
//!
//! let source = Postgres::from_url("postgresql://reader@db.example.com/shop?sslmode=verify-full")?;
//! let orders = Relation::table("public.orders").as_text(["total"]);
//! for batch in source.fetch(&Fetch::of(orders).condition("placed > now() - interval '1 year'"), &Call::new())? {
//!     println!("{} rows", batch?.num_rows());
//! }
//! # Ok::<(), pillion::Error>(())
//! ```
//!
//! # What is fetched
//! - [`Relation::table`](pillion::source::Relation::table) names a table, partitioned table, view, materialised view or foreign
//!   table, written as in SQL: `public.orders`; `orders`, which is looked up in the `search_path`; `"Order Lines"`,
//!   with quotation marks because letters without them are lower case. A table with children has their rows too.
//! - [`Relation::statement`](pillion::source::Relation::statement) is a query: `SELECT`, `VALUES`, `TABLE` or `WITH`.
//! - A [condition](pillion::source::Fetch::condition) is what may follow `WHERE`. It is evaluated with the time zone UTC.
//! - A [position](pillion::source::Fetch::after) may be of a column of integers, floats, decimals, texts (compared by their
//!   bytes, so only an index with the collation "C" helps), UUIDs, bytes, dates, times or timestamps.
//! - [Keys](pillion::source::Fetch::keys) may be of the same types except floats, and make a list after `IN`.
//!
//! Each fetch is a `COPY` in a read-only transaction that sees one state of all rows. It locks a table as a query does: rows
//! may change meanwhile, and columns may not. The rows are as of `now()` of the server. A standby has them as of the last
//! transaction that it replayed, so they count as old as that even if its primary had nothing to do since.
//!
//! There are no marks by which a change is noticed: the server's statistics of writes may be late, lost or reset, and its
//! position in the log does not move for unlogged and foreign tables.
//!
//! # Types
//! | PostgreSQL | Arrow |
//! | --- | --- |
//! | `boolean` | Boolean |
//! | `smallint`, `integer`, `bigint` | Int16, Int32, Int64 |
//! | `oid` | UInt32 |
//! | `real`, `double precision` | Float32, Float64 |
//! | `numeric(p,s)` up to 38 digits, up to 76 digits | Decimal128, Decimal256; a scale below 0 becomes digits before the point; the column must not hold NaN or infinities |
//! | `numeric` without precision and scale, or of more digits | refused |
//! | `text`, `varchar`, `char(n)` with its blanks, `name`, `citext`, `json`, `jsonb`, `xml`, enums | Utf8 |
//! | `uuid` | Utf8, as `00112233-4455-6677-8899-aabbccddeeff` |
//! | `bytea` | Binary |
//! | `date` | Date32; the column must not hold infinities |
//! | `time` | Time64 in microseconds; the column must not hold 24:00:00 |
//! | `timestamp` | Timestamp in microseconds, without time zone; the column must not hold infinities |
//! | `timestamptz` | Timestamp in microseconds, UTC; the column must not hold infinities |
//! | `interval` | Interval of months, days and nanoseconds; its hours must not exceed 292 years |
//! | arrays of the above | List; the column must hold arrays of one dimension that begin at 1 |
//! | domains | as the type below them; arrays of domains over `numeric` are refused |
//! | everything else: `inet`, `timetz`, `money`, `bit`, ranges, composite and geometric types, … | refused |
//!
//! A column that is refused fails the relation with [`UnsupportedType`](pillion::ErrorCode::UnsupportedType), unless it is left
//! out or read as text. A value that must not be there fails the fetch with [`SourceInvalid`](pillion::ErrorCode::SourceInvalid).
//! Text is what `::text` gives in a session with the time zone UTC and dates in ISO style: `inet` shows its mask,
//! `char(n)` loses its blanks.
//!
//! A column is nullable unless the table declares it `NOT NULL`, and all tables that it consists of do. Columns of views,
//! foreign tables and statements are nullable.
//!
//! # Changes
//! [`Source::snapshot`](pillion::source::Source::snapshot) and [`Source::changes`](pillion::source::Source::changes) follow tables by logical
//! replication, from PostgreSQL 14 on; tables with `TableSource::changes` use them. The server needs `wal_level = logical`, and the user the
//! attribute `REPLICATION` and `SELECT` on the tables.
//!
//! - The name of a [`Follow`](pillion::source::Follow) is that of the replication slot. A publication of the same name is made, for
//!   which the user must own the tables; or an administrator [makes one](pillion::source::Follow::publication). It must publish inserts, updates,
//!   deletes and truncates of whole tables.
//! - The server keeps its log for a slot until its changes are acknowledged. Set `max_slot_wal_keep_size`, so that a slot that nobody reads does
//!   not fill its disk: the slot is lost then, which [`Changes::Lost`](pillion::source::Changes::Lost) says.
//!   [`forget`](pillion::source::Source::forget) drops the slot of a table that is not wanted any more.
//! - The server sends changes of all rows, whatever row-level security hides from the user. So a copy or a comparison of a table of which a policy
//!   would hide rows is refused; give the user `BYPASSRLS`. A fetch without changes gives the rows that the user may see.
//! - A position is written like `0/16B3748`, as `pg_current_wal_lsn()` gives it.
//! - A snapshot waits until all transactions that are under way have ended. Until it is dropped it locks the tables as a query does: rows may
//!   change, and columns may not.
//! - A transaction comes after its commit, also one of two phases. Until then the server keeps what is too large for
//!   `logical_decoding_work_mem` on its disk.
//! - A table needs a primary key or another replica identity. Partitions are followed one by one, because the server does not say when a
//!   partition is detached. Tables with children, and those that are not logged, cannot be followed.
//! - Types are those of the table above. Generated columns, and columns that are read as text and are not texts, are left out. A
//!   value that must not be there takes its table out of the feed, which [reports](pillion::source::FeedEvent::Reshaped) it with the column;
//!   the other tables are followed on.
//! - A table whose columns change is [reported](pillion::source::FeedEvent::Reshaped) with the first change of a row after that. What `ALTER TABLE`
//!   does to values without such a change is not seen: `ALTER COLUMN … TYPE … USING` that keeps the type, a last column that is dropped and
//!   added again with its type, and tables that are taken out of a publication and put back.
//!
//! - [`Source::check`](pillion::source::Source::check) compares held rows with those of the server at one place in its log: both sides add up the
//!   SHA-256 of one text for each row, which the server makes by SQL. It takes a temporary slot of the server, and its snapshot is held until the
//!   comparison ends. Keys of floats have no order that both share, so their tables are not compared, and neither are
//!   those of a database with the encoding `SQL_ASCII`. The table is locked as by a query until then.
//!
//! # Connections
//! [`PostgresOptions`] says how a server is reached, [`SslMode`] what is verified of it, and [`Secret`] where the password is read from
//! for every connection. Each call has a connection of its own. It ends with the call, also if the call is given up or the rows are
//! dropped half-way; then the server is asked to stop the statement.

#[cfg(test)]
extern crate self as pillion_postgres; // what the tests stand on names the crate so

mod canonical;
mod catalog;
mod changes;
mod decode;
mod failures;
mod feed;
/// Entry points for fuzzing.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod names;
mod options;
mod plan;
mod position;
mod replication;
mod rows;
mod session;
mod source;
mod tls;
mod types;
mod url;

pub use options::{PostgresOptions, SslMode};
pub use pillion::source::Secret;
pub use source::Postgres;
