//! A program with a DataFusion context of its own: it joins a cached table with a Parquet file.
//!
//! ```sh
//! cargo run --release -p pillion-examples --example own_context [DIRECTORY]
//! ```

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pillion::{Cache, TableDefinition};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// The data comes with the repository: https://github.com/tidyverse/nycflights13.
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data");

/// The manufacturers whose planes were late most, of those with many flights.
const LATE: &str = "SELECT p.manufacturer, count(*) AS flights, round(avg(f.arr_delay), 1) AS delay \
    FROM planes p JOIN cache.public.flights f ON f.tailnum = p.tailnum \
    GROUP BY p.manufacturer HAVING count(*) > 5000 ORDER BY delay DESC LIMIT 5";

/// The flights to Anchorage, and the same flights a week before: few rows, joined with all flights on their key.
const A_WEEK_BEFORE: &str = "SELECT f.time_hour, f.flight, f.arr_delay, b.arr_delay AS a_week_before \
    FROM cache.public.flights f JOIN cache.public.flights b \
      ON b.time_hour = f.time_hour - INTERVAL '7 days' AND b.carrier = f.carrier AND b.flight = f.flight \
    WHERE f.dest = 'ANC' ORDER BY f.time_hour LIMIT 5";

fn main() -> Result<()> {
    let default = || std::env::temp_dir().join("pillion-own-context");
    let dir = std::env::args_os().nth(1).map_or_else(default, PathBuf::from);
    let cache = Cache::open(&dir)?;
    let flights = TableDefinition::parquet(format!("{DATA}/flights.parquet"));
    cache.define_table("flights", flights.primary_key(["time_hour", "carrier", "flight"]))?;

    // The rules are for joins on keys; without them the answers are the same.
    let state = SessionStateBuilder::new().with_default_features().build();
    let context = SessionContext::new_with_state(pillion::datafusion::with_rules(state));
    context.register_catalog("cache", Arc::new(cache.datafusion_catalog()?));
    // With DataFusion's feature `parquet`, `context.register_parquet` does this.
    context.register_table("planes", Arc::new(parquet_file(&format!("{DATA}/planes.parquet"))?))?;

    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    runtime.block_on(async {
        println!("{}", ask(&context, LATE).await?);
        println!("{}", ask(&context, A_WEEK_BEFORE).await?);
        let plan = ask(&context, &format!("EXPLAIN ANALYZE {A_WEEK_BEFORE}")).await?;
        plan.lines().filter(|line| line.contains("PillionIndexJoin")).for_each(|line| println!("{line}"));
        Ok::<_, Box<dyn Error>>(())
    })?;
    cache.close()?;
    Ok(())
}

async fn ask(context: &SessionContext, text: &str) -> Result<String> {
    let rows = context.sql(text).await?.collect().await?;
    Ok(pretty_format_batches(&rows)?.to_string())
}

/// The rows of a Parquet file in memory.
fn parquet_file(path: &str) -> Result<MemTable> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()?;
    let schema = arrow::array::RecordBatchReader::schema(&reader);
    Ok(MemTable::try_new(schema, vec![reader.collect::<Result<_, _>>()?])?)
}
