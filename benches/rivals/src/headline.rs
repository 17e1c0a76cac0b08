//! The chart of the README: one row by its key.

use pillion_benches::report::{Bar, Figure, Headline};
use pillion_benches::workload::{ATTACHED, EMBEDDED, GET};

use crate::duckdb::DUCKDB;
use crate::lmdb::LMDB;
use crate::redb::REDB;
use crate::redis::REDIS;
use crate::sqlite::SQLITE;

/// Name of the file.
pub const NAME: &str = "lookup";

/// The shortest of the times that Spice AI's recipe prints for an answer from the results cache, in nanoseconds.
const SPICE_AI_NS: u64 = 771_375;
const SPICE_AI_SOURCE: &str = "printed by Spice AI for an answer from its own results cache, the shortest of three, asked with its own client on its own machine (github.com/spiceai/cookbook, caching/sql_results/README.md, for v2.0, outputs of 13 August 2026).";

/// One row by its key, as a newcomer asks for it.
pub const LOOKUP: Headline = Headline {
    title: "Find one row by its key and read its five columns",
    row: GET.name,
    bars: &[
        Bar { label: "Pillion, in your process", figure: Figure::Ours(EMBEDDED) },
        Bar { label: "Pillion, attached to its sidecar", figure: Figure::Ours(ATTACHED) },
        Bar { label: "LMDB, in your process", figure: Figure::Theirs(LMDB) },
        Bar { label: "redb, in your process", figure: Figure::Theirs(REDB) },
        Bar { label: "SQLite, prepared statement", figure: Figure::Theirs(SQLITE) },
        Bar { label: "DuckDB, prepared statement", figure: Figure::Theirs(DUCKDB) },
        Bar { label: "Redis, Unix socket", figure: Figure::Theirs(REDIS) },
        Bar {
            label: "Spice.ai's results cache, as published",
            figure: Figure::Published { ns: SPICE_AI_NS, source: SPICE_AI_SOURCE },
        },
    ],
};
