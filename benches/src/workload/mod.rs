//! The rows of the reports, and Pillion's work in each of them.

#[cfg(feature = "ways")]
mod bulk;
mod lookup;
#[cfg(feature = "ways")]
mod mixed;
mod plans;
#[cfg(feature = "ways")]
mod query;
#[cfg(feature = "ways")]
mod restart;
mod stored;
mod stream;
#[cfg(feature = "ways")]
mod upsert;
#[cfg(feature = "ways")]
mod upsert_together;
#[cfg(feature = "ways")]
mod ways;
#[cfg(feature = "ways")]
mod whole;

#[cfg(feature = "ways")]
pub use bulk::{OpenAndGet, Replace};
pub use lookup::{Get, GetAbsent, GetEach, GetMany, GetTrip};
#[cfg(feature = "ways")]
pub use mixed::{Mixed, SUM_SQL};
#[cfg(feature = "ways")]
pub(crate) use plans::FIRSTS;
pub use plans::{CALLS, LOADS, SCANS, points, points_large};
#[cfg(feature = "ways")]
pub use query::{Computed, Groups, PointText, PreparedPoint, PreparedRange};
#[cfg(feature = "ways")]
pub use restart::Restart;
pub use stored::Stored;
pub use stream::{Streamed, read_for, read_until, stream, stream_paced};
#[cfg(feature = "ways")]
pub use upsert::{Upsert, change, keys};
#[cfg(feature = "ways")]
pub use upsert_together::UpsertTogether;
#[cfg(feature = "ways")]
pub use ways::{
    ATTACHED, ATTACHED_GOAL, EMBEDDED, REMOTE, REMOTE_COMPUTED_GOAL, REMOTE_MANY_GOAL, REMOTE_WHOLE_GOAL,
    ROUND_TRIP, Ways, lookup_goal,
};
#[cfg(feature = "ways")]
pub use whole::{Opened, Whole, WholeFirst, WholePass};

use crate::harness::Subject;

/// Keys of one call of [`GET_MANY`].
pub const MANY: u64 = 1_000;
/// Rows of an answer of [`RANGE`].
pub const RANGE_ROWS: u64 = 100;
/// Commits that made the table of [`GET_COMMITS`].
pub const COMMITS: usize = 100;

/// A lookup by an integer key.
pub const GET: Subject =
    Subject { figure: "P1", name: "get", state: "integer key, random, warm; every column read" };
/// A lookup over the socket, its ends on chosen processors.
pub const GET_PLACED: Subject = Subject {
    figure: "P1",
    name: "get, placed",
    state: "as above, remote, client and server on one processor and on two: the kernel chooses otherwise",
};
/// A lookup of a key that is not there.
pub const GET_ABSENT: Subject =
    Subject { figure: "P1", name: "get, absent", state: "as above, keys between those of the table" };
/// A lookup in a table that grew by many commits.
pub const GET_COMMITS: Subject = Subject {
    figure: "P1",
    name: "get, commits",
    state: "as above, the rows appended by 100 commits, random keys in each",
};
/// A lookup in a table of ten times the rows.
pub const GET_LARGE: Subject =
    Subject { figure: "P1", name: "get, large", state: "as above, 10,000,000 rows" };
/// A lookup by a key of three columns.
pub const GET_TRIP: Subject = Subject {
    figure: "P1",
    name: "get, composite",
    state: "key of timestamp, text and integer, random, warm; every column read",
};
/// A lookup of a thousand keys at once.
pub const GET_MANY: Subject =
    Subject { figure: "P5", name: "get_many", state: "1,000 random integer keys a call; every column read" };
/// A prepared query of one row.
pub const POINT_PREPARED: Subject =
    Subject { figure: "P4", name: "point query, prepared", state: "SELECT of 5 columns WHERE id = $1" };
/// A query of one row as text.
pub const POINT_TEXT: Subject =
    Subject { figure: "P4", name: "point query, text", state: "the same, another text with every call" };
/// A query of a hundred rows.
pub const RANGE: Subject = Subject {
    figure: "",
    name: "range query",
    state: "prepared: SELECT of 5 columns WHERE id >= $1 AND id < $2, 100 rows",
};
/// A query of all rows.
pub const GROUPS: Subject = Subject {
    figure: "",
    name: "group-by",
    state: "text: sum, avg and count of all rows by a text column of 100 values",
};
/// A query whose answer has a tenth of the rows and is computed.
pub const COMPUTED: Subject = Subject {
    figure: "P7",
    name: "computed 10 %",
    state: "text: SELECT of 2 sums and 2 texts of the rows whose amount is in the lowest tenth; every value read",
};
/// A whole table.
pub const WHOLE: Subject = Subject {
    figure: "P6",
    name: "whole table",
    state: "scan to the last batch, warm, untouched; no byte of the rows is looked at",
};
/// A whole table, and its bytes.
pub const WHOLE_PASS: Subject = Subject {
    figure: "P6",
    name: "whole table, every byte",
    state: "as above, and one pass over every byte",
};
/// A whole table that changed a little.
pub const WHOLE_REPLACED: Subject = Subject {
    figure: "P6",
    name: "whole table, 1 % replaced",
    state: "scan to the last batch, warm; 1 % of the rows, at random, replaced by 10 commits of upserts",
};
/// A whole table that changed a little, and its bytes.
pub const WHOLE_REPLACED_PASS: Subject = Subject {
    figure: "P6",
    name: "whole table, every byte, 1 % replaced",
    state: "as above, and one pass over every byte",
};
/// A whole table that nobody has read yet.
pub const WHOLE_FIRST: Subject = Subject {
    figure: "P6",
    name: "whole table, first",
    state: "scan to the last batch, just opened: files are mapped and every page is checked; page cache warm",
};
/// A whole table that is not in memory.
pub const WHOLE_COLD: Subject = Subject {
    figure: "P6",
    name: "whole table, cold",
    state: "as whole table, first, and its files out of the page cache",
};
/// A whole table that is not in memory, and its bytes.
pub const WHOLE_COLD_PASS: Subject = Subject {
    figure: "P6",
    name: "whole table, every byte, cold",
    state: "as above, and one pass over every byte",
};
/// A whole table of ten times the rows.
pub const WHOLE_LARGE: Subject =
    Subject { figure: "P6", name: "whole table, large", state: "as whole table, 10,000,000 rows" };
/// A whole table of ten times the rows, and its bytes.
pub const WHOLE_PASS_LARGE: Subject = Subject {
    figure: "P6",
    name: "whole table, every byte, large",
    state: "as whole table, every byte, 10,000,000 rows",
};
/// A whole table of ten times the rows that nobody has read yet.
pub const WHOLE_FIRST_LARGE: Subject = Subject {
    figure: "P6",
    name: "whole table, first, large",
    state: "as whole table, first, 10,000,000 rows",
};
/// A whole table of ten times the rows that is not in memory.
pub const WHOLE_COLD_LARGE: Subject = Subject {
    figure: "P6",
    name: "whole table, cold, large",
    state: "as whole table, cold, 10,000,000 rows",
};
/// A whole table of ten times the rows that is not in memory, and its bytes.
pub const WHOLE_COLD_PASS_LARGE: Subject = Subject {
    figure: "P6",
    name: "whole table, every byte, cold, large",
    state: "as above, and one pass over every byte",
};
/// A whole table of ten times the rows that changed a little.
pub const WHOLE_REPLACED_LARGE: Subject = Subject {
    figure: "P6",
    name: "whole table, 1 % replaced, large",
    state: "as whole table, 1 % replaced, 10,000,000 rows",
};
/// A whole table of ten times the rows that changed a little, and its bytes.
pub const WHOLE_REPLACED_PASS_LARGE: Subject = Subject {
    figure: "P6",
    name: "whole table, every byte, 1 % replaced, large",
    state: "as above, and one pass over every byte",
};
/// Opening a cache.
pub const OPEN: Subject = Subject {
    figure: "P8",
    name: "open and get",
    state: "open what exists, look up a first key; files in the page cache",
};
/// Loading rows that are in memory.
pub const LOAD_BATCHES: Subject = Subject {
    figure: "P10",
    name: "load, batches",
    state: "replace all rows by unsorted batches in memory, one commit",
};
/// Loading an unsorted file.
pub const LOAD_PARQUET: Subject = Subject {
    figure: "P10",
    name: "load, Parquet",
    state: "replace all rows by those of an unsorted file, one commit",
};
/// Loading a sorted file.
pub const LOAD_PARQUET_SORTED: Subject = Subject {
    figure: "P10",
    name: "load, Parquet, sorted",
    state: "the same, the file in the order of the key",
};

/// The query of [`POINT_PREPARED`].
pub const POINT_SQL: &str = "SELECT id, amount, price, city, code FROM points WHERE id = $1";
/// The query of [`RANGE`].
pub const RANGE_SQL: &str = "SELECT id, amount, price, city, code FROM points WHERE id >= $1 AND id < $2";
/// The query of [`GROUPS`].
pub const GROUPS_SQL: &str = "SELECT city, sum(amount), avg(price), count(*) FROM points GROUP BY city";
/// The query of [`COMPUTED`].
pub const COMPUTED_SQL: &str =
    "SELECT id + amount, price * 0.5, city, code FROM points WHERE amount < -800000";
/// The query that shows what was loaded.
pub const LOADED_SQL: &str = "SELECT count(*), sum(id), sum(amount), sum(price), max(code) FROM points";

/// The query of [`POINT_TEXT`].
pub fn point_text(key: i64) -> String {
    format!("SELECT id, amount, price, city, code FROM points WHERE id = {key}")
}
