//! Tables of Delta Lake as a [`Source`](pillion::source::Source) of Pillion tables, on Amazon S3 and stores that speak its protocol,
//! Google Cloud Storage, Azure Blob Storage, and on disk.
//!
//! ```no_run
//! use pillion::source::{Call, Fetch, Relation, Source};
//! use pillion_delta::{DeltaSource, Location, Secret};
//!
//! let lake = Location::new("s3://lake/tables")
//!     .option("region", "eu-west-1")
//!     .secret("access_key_id", Secret::Environment("LAKE_KEY".to_owned()))
//!     .secret("secret_access_key", Secret::File("/run/secrets/lake".into()));
//! let source = DeltaSource::new(lake)?;
//! let events = Relation::table("events"); // the folder s3://lake/tables/events
//! let call = Call::new();
//! let described = source.describe(&events, &call)?;
//! println!("{} rows with {}", described.expected_rows().unwrap_or(0), described.schema());
//! for batch in source.fetch(&Fetch::of(events).columns(["id"]), &call)? {
//!     println!("{} rows", batch?.num_rows());
//! }
//! # Ok::<(), pillion::Error>(())
//! ```
//!
//! # Places
//! A location is that of [`pillion_object_store`]: a folder on disk, `s3://bucket/prefix`, `gs://…` or `az://…`, with its options
//! and secrets. HTTP servers list no files, so they are refused.
//!
//! # Relations
//! A relation is the folder of a table below the location: `events`, `sales/orders`, or `.` for the location itself. The folder has a
//! folder `_delta_log`.
//!
//! | option | meaning |
//! | --- | --- |
//! | `version` | a number: the table as it was at that version. Without it, the latest version |
//!
//! A fetch reads one version of the table, whatever is committed meanwhile. Files that the version has and that `VACUUM` removes before
//! they are read fail the fetch with [`SourceUnavailable`](pillion::ErrorCode::SourceUnavailable): rows of two versions are never
//! mixed. Set `delta.deletedFileRetentionDuration` to more than a refresh takes.
//!
//! # Types
//! | Delta | Arrow |
//! | --- | --- |
//! | `byte`, `short`, `integer`, `long` | Int8, Int16, Int32, Int64 |
//! | `float`, `double` | Float32, Float64 |
//! | `decimal(p,s)` | Decimal128(p, s) |
//! | `boolean`, `string`, `binary` | Boolean, Utf8, Binary |
//! | `date` | Date32 |
//! | `timestamp` | Timestamp in microseconds, UTC |
//! | `timestamp_ntz` | Timestamp in microseconds, without time zone |
//! | `struct`, `array`, `map` | Struct, List, Map |
//! | `void` | Null |
//! | `variant`, intervals, geometries | refused ([`UnsupportedType`](pillion::ErrorCode::UnsupportedType)): leave the column out |
//!
//! A column that the table declares `NOT NULL` is not nullable. A column read as text has the form in which Arrow shows its values.
//! Columns by which the table is partitioned have the type that the table gives them. Rows that were written before a column was added
//! have null in it, and values that were written before a column's type was widened become the wider type.
//!
//! # What tables may use
//! Deletion vectors, column mapping by name and by id, type widening, timestamps without time zone, checkpoints of every kind (also in
//! several files and of version 2 with sidecars), and `vacuumProtocolCheck`. A table that demands something else of its readers is
//! refused with [`Unsupported`](pillion::ErrorCode::Unsupported), which names it; so are files outside of the location, which
//! shallow clones may have.
//!
//! # Changes
//! The mark of a relation is its version, with a digest of the commit's name, length, tag and time:
//! [`mark`](pillion::source::Source::mark) lists the log and reads nothing. A table that was deleted and made anew has another mark.
//!
//! Each partition is a part, so that a refresh fetches only the partitions that changed; a table without partitions is one part. That is
//! so for tables of up to 600 partitions whose columns of partitions are in the Pillion table and are not `float`, `double` or `binary`. A
//! Pillion table with [`append_by`](pillion::source::TableSource::append_by) or a working set is not fetched in parts. A commit that
//! changes columns changes all parts. If a version is committed between the description of the parts and their fetch, all rows are
//! fetched.
//!
//! Changes of a table on disk are [told](pillion::source::Source::watch).
//!
//! # Positions
//! Rows can be fetched from a value on of every column of whole numbers, decimals, texts, dates and timestamps. Files whose statistics in
//! the log, or whose partition, show that they have no such row are not read.
//!
//! So are the rows of a [working set](pillion::source::TableSource::rows_where): files that have none of them are not read. Pillion
//! decides of each row itself.
//!
//! # Memory
//! A fetch holds a batch of about 8,192 rows or 4 MiB, up to 32 MiB of the bytes of a file, a few hundred bytes for each file of the
//! table, and eight bytes for each deleted row of a file.

mod columns;
mod conform;
mod engine;
mod failures;
mod head;
mod known;
mod names;
mod options;
mod parts;
mod paths;
mod position;
mod ranges;
mod rows;
mod source;
mod table;

pub use pillion_object_store::{Location, Secret};

pub use self::source::DeltaSource;
