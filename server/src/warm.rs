//! `pillion warm`: loads the tables of a configuration once, for a container that runs before the sidecar.

use std::path::PathBuf;

use clap::Args;
use pillion::source::TableSource;
use pillion::{Cache, TableDefinition};

use crate::config::{Config, TableConfig};
use crate::failure::Failure;
use crate::output::progress::summary;
use crate::output::units;
use crate::{serve, sources};

/// Arguments of `pillion warm`.
#[derive(Args, Debug)]
#[command(after_long_help = AFTER_HELP)]
pub struct WarmArgs {
    /// The configuration of the sidecar
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

const AFTER_HELP: &str = "\
Examples:
  pillion warm --config pillion.toml && exec pillion serve --config pillion.toml

Exit codes are those of `pillion --help`. With any but 0, the tables that could be loaded are there.";

/// Loads the tables of a configuration that are not there yet, refreshes those that are, and closes the cache. A refresh that
/// fails is reported and is no failure: the sidecar can serve the rows that are there.
///
/// # Errors
/// Those of the first table that cannot be loaded; the others are loaded all the same.
pub fn warm(args: &WarmArgs) -> Result<(), Failure> {
    let config = Config::read(&args.config)?;
    serve::begin_log(config.log);
    let cache = config.cache_options().open(&config.dir)?;
    sources::add_all(&cache, &config)?;
    let mut failed: Option<Failure> = None;
    for table in &config.tables {
        let done = match &table.source {
            None => serve::load_files(&cache, table),
            Some(source) => load(&cache, table, source.clone())
                .map_err(|error| Failure::from(error).context(format_args!("table `{}`", table.name))),
        };
        if let Err(failure) = done {
            match failed {
                None => failed = Some(failure),
                Some(_) => failure.print(),
            }
        }
    }
    let tables = cache.tables()?;
    cache.close()?;
    summary(|| {
        let rows = tables.iter().map(|table| table.rows).sum();
        format!("{} tables with {}", tables.len(), units::rows(rows))
    });
    failed.map_or(Ok(()), Err)
}

/// Loads a table from its source, or refreshes it if it is there.
fn load(cache: &Cache, table: &TableConfig, source: TableSource) -> pillion::Result<()> {
    let is_held = cache.table(&table.name).is_ok();
    let definition = TableDefinition::from_source(source.not_on_start()).rules(table.rules.clone());
    cache.define_table(&table.name, definition)?;
    if is_held && let Err(error) = cache.refresh(&table.name) {
        Failure::from(error).context(format_args!("table `{}` keeps its rows", table.name)).print();
    }
    Ok(())
}
