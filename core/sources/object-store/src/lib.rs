//! Files as a source of Pillion tables: on Amazon S3 and stores that speak its protocol, Google Cloud Storage, Azure Blob
//! Storage, HTTP servers, and on disk.
//!
//! ```
//! use std::sync::Arc;
//!
//! use pillion::source::{Call, Fetch, Relation, Source};
//! use pillion_object_store::{Location, ObjectStoreSource};
//!
//! # let dir = tempfile::tempdir().unwrap();
//! # std::fs::create_dir_all(dir.path().join("flights/year=2013")).unwrap();
//! # std::fs::write(dir.path().join("flights/year=2013/ua.csv"), "flight;delay\n1545;NA\n1714;20\n").unwrap();
//! # let folder = dir.path().to_str().unwrap();
//! // Or `Location::new("s3://bucket/prefix")` with options and secrets.
//! let source = ObjectStoreSource::new(Location::new(folder))?;
//! let flights = Relation::table("flights/**/*.csv").option("null", "NA");
//! let call = Call::new();
//! let described = source.describe(&flights, &call)?;
//! let columns: Vec<String> =
//!     described.schema().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
//! assert_eq!(columns, ["flight Int64", "delay Int64", "year Int64"]);
//! let rows: usize = source.fetch(&Fetch::of(flights), &call)?.map(|batch| batch.unwrap().num_rows()).sum();
//! assert_eq!(rows, 2);
//! # Ok::<(), pillion::Error>(())
//! ```
//!
//! # Places
//! | URL | feature | options |
//! | --- | --- | --- |
//! | a path, `file:///folder` | | |
//! | `s3://bucket/prefix`, `s3a://…` | `aws` (default) | `access_key_id`, `secret_access_key`, `session_token`, `region`, `endpoint`, `allow_http`, `virtual_hosted_style`, `request_payer`, `anonymous`, `ca_file` |
//! | `gs://bucket/prefix` | `gcp` (default) | `service_account_key`, `service_account_path`, `endpoint`, `allow_http`, `anonymous`, `ca_file` |
//! | `az://container/prefix`, `abfss://container@account.dfs.core.windows.net/prefix` | `azure` (default) | `account`, `access_key`, `sas_token`, `tenant_id`, `client_id`, `client_secret`, `endpoint`, `allow_http`, `anonymous`, `ca_file` |
//! | `https://host/folder`, `http://…` | `http` (default) | `user`, `password`, `ca_file` |
//!
//! Each option can be a [`Secret`], which is read again at every call. Without credentials among the options, S3, Google and
//! Azure use those of the environment, of the instance or of the service account, as their own tools do.
//!
//! An HTTP server usually lists no files: relations name one file each. Files of more than 8 MiB need a server that answers
//! requests for ranges of bytes. A server that speaks WebDAV lists files too.
//!
//! # Relations
//! A relation is a path or a pattern below the URL. `*`, `?` and `[…]` match within a name and `**` any folders; a path with `/`
//! at its end means all files below the folder. Wildcards skip names that begin with `.` or `_`, such as `_SUCCESS`, unless the
//! pattern has a name that begins so. Files are read in the order of their names.
//!
//! | option | meaning |
//! | --- | --- |
//! | `format` | `parquet`, `csv`, `tsv`, `ndjson` or `arrow`. Without it, the ending says it: `parquet`, `pq`; `csv`, `txt`; `tsv`, `tab` (CSV with tabs); `ndjson`, `jsonl`, `json`; `arrow`, `arrows`, `feather`, `ipc` |
//! | `delimiter` | of CSV: one character or `tab`. Without it, the first lines show it: the one of `,` `;` tab and `\|` that divides all of them into equally many fields, at least two. If two do, the option is needed |
//! | `quote` | of CSV: one character, or `off`; `"` by default |
//! | `header` | of CSV: `off` if the first line is a row; columns are then `column_1` and so on |
//! | `null` | of CSV: words with commas between them that are null where they are not quoted, such as `NA,NULL`. An empty field always is |
//! | `types` | types of columns: `zip=Utf8,price=Decimal(10,2)`, with Arrow's names |
//! | `hive` | `off`: folders such as `year=2013` are not columns |
//! | `empty` | `allow`: no files are no rows, with the columns of `types`. Otherwise a pattern without files is `SourceNotFound`, so a mistyped pattern does not empty a table |
//!
//! `.gz` and `.zst` behind the ending of a CSV or NDJSON file are decompressed (features `gzip` and `zstd`, default), and buffers
//! of Arrow IPC that LZ4 or Zstandard compressed (feature `arrow-compression`, default).
//!
//! # Types
//! | in files | column |
//! | --- | --- |
//! | Parquet, Arrow | the type that the file declares. Dictionary and run-end encoded columns become the type of their values, list views lists; within other types, views of texts and bytes become those |
//! | CSV, inferred from all rows of all files | Boolean, Int64, Float64, Date32, Timestamp in the unit that is needed (UTC if the texts have time zones), otherwise Utf8. A whole number with a leading zero is text |
//! | CSV, by `types` | every type but nested ones, durations and intervals |
//! | NDJSON: `true`, a number | Boolean; Int64 or Float64, or text if neither holds all |
//! | NDJSON: a text | Utf8, or what `types` says |
//! | NDJSON: an object or a list | Utf8: its JSON text as the file has it |
//! | folders `name=value` | Int64 or Date32 if all values are, otherwise Utf8; `__HIVE_DEFAULT_PARTITION__` is null |
//! | Union | refused (`UnsupportedType`): leave the column out or read it as text |
//!
//! Values of CSV and NDJSON become exactly what they say or are refused with file, line and column, as
//! [`pillion::texts`] describes. Columns read as text have CSV's and JSON's own text; those of Parquet and Arrow the form in which
//! Arrow shows values.
//!
//! Files of one relation may differ: columns are matched by name, missing ones are null, added ones come last. Integers, floats,
//! decimals, times and timestamps of several widths, units and scales get one that holds all values; integers up to 32 bits and
//! floats become floats; Utf8 and LargeUtf8 become LargeUtf8. Anything else is `SchemaMismatch`, with the file, the column and
//! both types. `types` narrows nothing: for Parquet and Arrow it may only widen.
//!
//! # Changes
//! The mark of a relation is a digest of the names, sizes, tags (`ETag`) and times of its files, from one listing:
//! [`mark`](pillion::source::Source::mark) reads no file. What was learned of a file is remembered while the source lives, so files that did not change are not looked at again.
//! Where a server has no tags, a file that is replaced within the same second by one of the same size is not noticed.
//!
//! Folders `name=value` make parts, with their values; otherwise each file is a part.
//!
//! Changes of a folder on disk are [told](pillion::source::Source::watch), also those of links that lead to it or stand in it; another machine's changes of a network
//! file system are not. Each folder below takes a place of those that the system watches (`fs.inotify.max_user_watches`).
//!
//! A file that a program writes in place is told on Linux when the program closes it. Another change, or a look at all files now
//! and then, reads what it has until then: whoever writes files that take a while to write gives them a name that no pattern
//! matches, such as `.a.csv`, and renames them when they are complete.
//!
//! Every read asks for the version that was listed. If a file was replaced or removed meanwhile, the fetch fails with
//! `SourceUnavailable`, so rows of two versions are never mixed. A file on disk is looked at again behind its last row.
//!
//! # Memory
//! A fetch holds a batch of about 8,192 rows or 4 MiB, and up to 32 MiB of the bytes of a file: a row group of Parquet as a whole
//! if its wanted columns are not larger. A batch of an Arrow IPC file is in memory as a whole.

mod batches;
mod blocks;
#[cfg(any(feature = "aws", feature = "gcp", feature = "azure", feature = "http"))]
mod clients;
mod file;
mod files;
mod folder;
mod formats;
mod known;
mod location;
mod marks;
mod named;
mod names;
mod options;
mod pattern;
mod plan;
mod runtime;
mod schemes;
mod source;
mod store;
mod watch;

pub use self::files::{Files, ListedFile, OpeningFile};
pub use self::folder::Folder;
pub use self::formats::parquet::ParquetFile;
pub use self::location::Location;
pub use self::source::ObjectStoreSource;
pub use pillion::source::Secret;
