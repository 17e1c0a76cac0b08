//! Tables of MariaDB and MySQL as a [`Source`](pillion::source::Source) of Pillion tables. Tested on MariaDB 10.11; MySQL
//! and other versions speak the same protocol, and nobody tested them yet.
//!
//! ```no_run
//! use pillion::source::{Call, Fetch, Relation, Source};
//! use pillion_mysql::MySql;
//!
//! let source = MySql::from_url("mysql://reader@db.example.com/shop?ssl-mode=verify-full")?;
//! let orders = Relation::table("orders").as_text(["opening_hours"]);
//! for batch in source.fetch(&Fetch::of(orders).condition("placed > NOW() - INTERVAL 1 YEAR"), &Call::new())? {
//!     println!("{} rows", batch?.num_rows());
//! }
//! # Ok::<(), pillion::Error>(())
//! ```
//!
//! # What is fetched
//! - [`Relation::table`](pillion::source::Relation::table) names a table or view, written as in SQL: `orders`, in the database
//!   of the URL; `shop.orders`; `` `Order Lines` ``, with backquotes because of the blank. Invisible columns are left out.
//! - [`Relation::statement`](pillion::source::Relation::statement) is a query: `SELECT`, `VALUES` or `WITH`. The server reads
//!   it as a table of a larger query, so an `ORDER BY` without `LIMIT` has no effect. The client library takes a name behind a
//!   colon for a parameter if it cannot tell that it is in a text or comment; such a statement is refused.
//! - A [condition](pillion::source::Fetch::condition) is what may follow `WHERE`.
//! - A [position](pillion::source::Fetch::after) may be of a column of whole numbers, floats, decimals, texts, bytes, dates,
//!   times, `datetime` or `timestamp`. Texts, including `enum`, `set` and `uuid`, are compared by their bytes in UTF-8, as Pillion
//!   compares them and whatever their collation is; no index of the server helps with that.
//!
//! Each call has a session with the time zone UTC, the character set `utf8mb4`, no `sql_select_limit`, and
//! `sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'`, whatever the settings of the server and the user. It reads in a
//! read-only transaction with a consistent snapshot. So all rows of InnoDB tables are of one state; other engines have no
//! snapshots. A table whose columns change between description and query fails the fetch. Rows stream: neither side collects
//! them, unless a statement makes the server sort or group.
//!
//! The rows are as of the clock of the server, read before the snapshot. A replica has its rows from its primary some time
//! later, and this source does not know how much. There are no marks by which a change is noticed.
//!
//! # Types
//! | MariaDB and MySQL | Arrow |
//! | --- | --- |
//! | `tinyint`, `smallint`, `mediumint`, `int`, `bigint` | Int8, Int16, Int32, Int32, Int64 |
//! | the same, `unsigned` | UInt8, UInt16, UInt32, UInt32, UInt64 |
//! | `boolean`, which is `tinyint(1)` | Int8: it may hold any number up to 127 |
//! | `bit(1)`, `bit(n)` | Boolean, UInt64 |
//! | `float`, `double` | Float32, Float64 |
//! | `decimal(p,s)` up to 38 digits, up to 65 digits | Decimal128, Decimal256 |
//! | `char`, `varchar`, `tinytext` to `longtext`, of any character set; `enum`, `set`, `json` | Utf8 |
//! | `uuid`, `inet4`, `inet6` | Utf8, as the server shows them |
//! | `binary`, `varbinary`, `tinyblob` to `longblob` | Binary |
//! | `date` | Date32; the column must not hold zeros as `0000-00-00` or `2024-00-00` |
//! | `datetime` | Timestamp in microseconds, without time zone; no zeros as above |
//! | `timestamp` | Timestamp in microseconds, UTC; no zeros as above |
//! | `time` | Time64 in microseconds; the column must not hold times below 00:00:00 or from 24:00:00 on |
//! | `year` | Int16 |
//! | `year(2)`, `geometry` and the like, `vector` | refused |
//!
//! A column that is refused fails the relation with [`UnsupportedType`](pillion::ErrorCode::UnsupportedType), unless it is left
//! out or read as text. A value that must not be there fails the fetch with [`SourceInvalid`](pillion::ErrorCode::SourceInvalid).
//! Text is what `CAST(… AS CHAR)` gives: zero dates and long times are shown, and a `float` loses digits. Bytes are shown in
//! hexadecimal, bits as zeros and ones, geometries by `ST_AsText`.
//!
//! A column is nullable unless the table declares it `NOT NULL`, and an engine keeps the rows that enforces this, such as
//! InnoDB. Columns of views and statements are nullable.
//!
//! # Connections
//! [`MySqlOptions`] says how a server is reached, [`SslMode`] what is verified of it, and [`Secret`] where the password is read
//! from for every connection. Users may log in by the plugins `mysql_native_password` and `caching_sha2_password`, by a
//! certificate, and by `unix_socket`.
//!
//! Each call has a connection of its own. It ends with the call, also if the call is given up or the rows are dropped half-way;
//! then a second connection to the same address asks the server to end the first one (`KILL CONNECTION`), which a user
//! may do to connections of its own. A slow reader keeps its session: `net_write_timeout` is a day.
//!
//! The first encrypted connection makes `ring` the default provider of rustls for the process, if it has none.

mod catalog;
mod decode;
mod failures;
mod names;
mod options;
mod plan;
mod position;
mod rows;
mod session;
mod source;
mod tls;
mod types;
mod url;

pub use options::{MySqlOptions, SslMode};
pub use pillion::source::Secret;
pub use source::MySql;
