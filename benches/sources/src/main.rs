//! Tables that refresh themselves from real servers: loads beside loads of files, reads beside refreshes, memory, and starts
//! while the servers are gone.

mod beside;
mod loads;
mod memory;
mod servers;
mod starts;
mod tables;
mod unchanged;

use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Points, SEED};
use pillion_benches::options::{Options, USAGE};
use pillion_benches::workload;

/// How much is done.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Rows of a table.
    points: Points,
    /// Rows of the table whose refresh is watched for its memory.
    large: Points,
    /// Files of one pattern.
    files: usize,
}

fn main() -> Result<()> {
    if memory::refresh_only()? {
        return Ok(());
    }
    let options = Options::parse(std::env::args().skip(1))?;
    if options.help {
        println!("{USAGE}");
        return Ok(());
    }
    let is_quick = options.quick;
    let size = Size {
        points: workload::points(is_quick),
        large: Points::new(if is_quick { 100_000 } else { 20_000_000 }),
        files: if is_quick { 100 } else { 10_000 },
    };
    let mut bench = Bench::new("Pillion: tables that refresh themselves", options);
    bench.set("rows", &size.points.rows());
    bench.set("seed", &SEED);
    loads::loads(&mut bench, &size)?;
    beside::beside(&mut bench, &size)?;
    starts::starts(&mut bench, &size)?;
    unchanged::unchanged(&mut bench, &size)?;
    memory::memory(&mut bench, &size)?;
    bench.finish("refreshes")?;
    Ok(())
}
