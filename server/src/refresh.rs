//! `pillion refresh`: refreshes tables of a running sidecar from their sources.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use pillion::{Cache, RefreshState};

use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::progress::{Progress, summary};
use crate::output::units;

/// How often the sidecar is asked how far it is.
const INTERVAL: Duration = Duration::from_millis(200);

/// Arguments of `pillion refresh`.
#[derive(Args, Debug)]
#[command(after_long_help = AFTER_HELP)]
pub struct RefreshArgs {
    /// The sidecar.
    #[command(flatten)]
    pub connection: Connection,

    /// The tables [default: all that sources feed]
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,

    /// Give up refreshes that are under way, and begin none
    #[arg(long, conflicts_with_all = ["pause", "resume"])]
    pub cancel: bool,

    /// Begin no more refreshes by the clock
    #[arg(long, conflicts_with = "resume")]
    pub pause: bool,

    /// Begin refreshes by the clock again
    #[arg(long)]
    pub resume: bool,
}

const AFTER_HELP: &str = "\
Examples:
  pillion refresh --url unix:/run/pillion/pillion.sock orders
  pillion refresh --url 'unix:/run/pillion/pillion.sock?deadline=3600'
  pillion refresh --url unix:/run/pillion/pillion.sock orders --pause

A refresh that takes longer than the deadline of the URL (60 s) goes on in the sidecar;
`pillion status` shows how far it is.";

/// Refreshes tables, one after another.
///
/// # Errors
/// Those of the first table that fails; the others are refreshed all the same.
pub fn refresh(args: &RefreshArgs) -> Result<(), Failure> {
    let cache = args.connection.ask()?;
    let tables = if args.tables.is_empty() {
        cache.refreshes()?.into_iter().map(|status| status.table).collect()
    } else {
        args.tables.clone()
    };
    if tables.is_empty() {
        return Err(Failure::new(Exit::NotFound, "no source feeds a table of this cache")
            .hint("`source` in the section of a table of the sidecar's configuration names one"));
    }
    let mut failed: Option<Failure> = None;
    for table in &tables {
        let done = if args.cancel {
            cache.cancel_refresh(table).map(drop)
        } else if args.pause {
            cache.pause_refreshes(table)
        } else if args.resume {
            cache.resume_refreshes(table)
        } else {
            watched(&cache, table)
        };
        if let Err(error) = done {
            let failure = Failure::from(error).context(format_args!("table `{table}`"));
            match failed {
                None => failed = Some(failure),
                Some(_) => failure.print(),
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Refreshes a table, with a line that shows how far it is.
fn watched(cache: &Cache, table: &str) -> Result<(), pillion::Error> {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| watch(cache, table, &ended));
        let refreshed = cache.refresh(table);
        ended.store(true, Ordering::Relaxed);
        refreshed
    })?;
    let info = cache.table(table)?.info()?;
    summary(|| {
        let (rows, bytes) = (units::rows(info.rows), units::bytes(info.bytes));
        format!("`{table}` refreshed: {rows} in {bytes}, version {}", info.version)
    });
    Ok(())
}

fn watch(cache: &Cache, table: &str, ended: &AtomicBool) {
    let mut progress: Option<Progress> = None;
    while !ended.load(Ordering::Relaxed) {
        thread::sleep(INTERVAL);
        // The refresh itself reports what is wrong.
        let Ok(refreshes) = cache.refreshes() else { continue };
        let state = refreshes.into_iter().find(|status| status.table == table).map(|status| status.state);
        if let Some(RefreshState::Running { rows, bytes, expected_rows, .. }) = state {
            progress
                .get_or_insert_with(|| Progress::new(format!("refreshing `{table}`"), expected_rows))
                .at(rows, bytes);
        }
    }
}
