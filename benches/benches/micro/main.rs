//! Single calls under criterion, to see how a change of the code affects each of them.

mod accessors;
mod get;
mod keys;
mod open;

use criterion::Criterion;
use pillion_benches::Result;

/// Rows of the tables; few enough to stay in the processor's caches, so that instructions count and not memory.
const ROWS: u64 = 10_000;

fn main() -> Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    get::run(&mut criterion)?;
    keys::run(&mut criterion)?;
    accessors::run(&mut criterion)?;
    open::run(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
