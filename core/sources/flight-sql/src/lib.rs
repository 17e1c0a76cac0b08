//! Tables and statements of Flight SQL servers, such as warehouses and clusters, as a [`Source`](pillion::source::Source) of
//! Pillion tables.
//!
//! ```no_run
//! use pillion::source::{Call, Fetch, Relation, Source};
//! use pillion_flight_sql::{FlightSqlOptions, Secret};
//!
//! let source = FlightSqlOptions::from_url("grpc+tls://warehouse.example.com:31337")?
//!     .token(Secret::File("/run/secrets/warehouse".into()))
//!     .build()?;
//! let orders = Relation::table("sales.orders").as_text(["total"]);
//! for batch in source.fetch(&Fetch::of(orders).condition("region = 'EU'"), &Call::new())? {
//!     println!("{} rows", batch?.num_rows());
//! }
//! # Ok::<(), pillion::Error>(())
//! ```
//!
//! # What is fetched
//! - [`Relation::table`](pillion::source::Relation::table) names a table as the server lists it (`GetTables`): `orders`,
//!   `sales.orders`, `shop.sales.orders`, and `"Order.Lines"` with quotation marks where a name has dots. If no name has exactly
//!   these letters, the case of letters does not count. The server is sent as many parts of the name as are given, in the
//!   quotation marks that it says it has (`GetSqlInfo`).
//! - [`Relation::statement`](pillion::source::Relation::statement) is a query that may stand behind `FROM` in parentheses.
//! - A [condition](pillion::source::Fetch::condition) is what may follow `WHERE` in the server's dialect.
//! - A [position](pillion::source::Fetch::after) may be of a column of numbers, dates or timestamps. Dates and timestamps are
//!   sent as parameters of a prepared statement if the server says that it takes one, and otherwise as literals of the
//!   SQL standard. Texts have no positions, because servers sort them in different orders.
//!
//! Columns, conditions and positions go to the server in the statement, so it sends only what is wanted. Before a fetch the
//! server is asked for the same without rows, which tells the columns. There are no marks by which a change is noticed, and no
//! clock of the server: rows are as of the moment of the question. One statement fetches all rows, so they are of one state if
//! the server gives that to a statement.
//!
//! # Types
//! Columns have the Arrow types that the server announces. Dictionaries, runs and views are decoded to the types of their
//! values. Unions are refused with [`UnsupportedType`](pillion::ErrorCode::UnsupportedType), unless they are left out or read as
//! text. Text is what Arrow shows of a value. A server that then sends other columns than it announced, or a null where it
//! announced none, fails the fetch with [`SourceInvalid`](pillion::ErrorCode::SourceInvalid). Servers may compress the buffers of
//! rows by LZ4 or Zstandard (feature `arrow-compression`, default).
//!
//! # Connections
//! [`FlightSqlOptions`] says how a server is reached. Each call has a connection of its own, with a login of its own: tokens,
//! passwords and certificates are read again for each, so they can be replaced. The connection ends with the call, also if the
//! call is given up or the rows are dropped half-way; then the server is asked to stop (`CancelFlightInfo`). The deadline of a call
//! is sent along. Rows are fetched endpoint after endpoint, and no faster than they are taken.
//!
//! A server may say that rows are at another address. The credentials of this source would go there, so [`Locations`] says
//! which hosts are followed: by default none.

mod address;
mod catalog;
mod connect;
mod decode;
mod dialect;
mod failures;
mod locations;
mod login;
mod names;
mod options;
mod plan;
mod position;
mod rows;
mod session;
mod settings;
mod source;
mod stream;
mod tls;

pub use locations::Locations;
pub use options::FlightSqlOptions;
pub use pillion::source::Secret;
pub use source::FlightSql;
