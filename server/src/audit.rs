//! `pillion audit`: compares tables of a running sidecar with the sources that they follow.

use clap::Args;
use pillion::{AuditReport, Value};
use serde_json::{Value as Json, json};

use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::format::Format;
use crate::output::layout::printable;
use crate::output::target::Target;
use crate::output::units;

/// Arguments of `pillion audit`.
#[derive(Args, Debug)]
#[command(after_long_help = AFTER_HELP)]
pub struct AuditArgs {
    /// The sidecar.
    #[command(flatten)]
    pub connection: Connection,

    /// The table
    #[arg(value_name = "TABLE")]
    pub table: String,

    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  pillion audit --url unix:/run/pillion/pillion.sock orders
  pillion audit --url 'unix:/run/pillion/pillion.sock?deadline=3600' orders --json | jq .divergent_rows

An audit that takes longer than the deadline of the URL (60 s) goes on in the sidecar, which logs
what it finds; `pillion status` shows it when it has ended.";

/// Compares a table with its source, and mends rows that differ.
///
/// # Errors
/// Those of the audit; [`Exit::Report`] if rows differed, also if all of them are mended.
pub fn audit(args: &AuditArgs) -> Result<(), Failure> {
    let cache = args.connection.ask()?;
    let report = cache.table(&args.table)?.audit()?;
    let target = Target::stdout(Format::Table)?;
    let mut out = target.sink().clone();
    let written = if args.json {
        std::io::Write::write_fmt(&mut out, format_args!("{:#}\n", report_json(&report)))
    } else {
        write(&report, &mut out)
    };
    written.map_err(|error| target.explain(&error))?;
    target.finish()?;
    if report.divergent_rows == 0 {
        return Ok(());
    }
    let (rows, mended) = (units::rows(report.divergent_rows), units::rows(report.mended_rows));
    let message =
        format!("table `{}`: {rows} differed from the source, {mended} of them are mended", args.table);
    let hint = "something changed rows of the cache or sent wrong ones: look into the log, check the disk, and report it";
    Err(Failure::new(Exit::Report, message).hint(hint))
}

fn write(report: &AuditReport, out: &mut impl std::io::Write) -> std::io::Result<()> {
    let since = report.sound_since.and_then(crate::status::moment);
    writeln!(out, "compared   {} in {}", units::rows(report.rows), units::age(report.elapsed))?;
    writeln!(out, "differed   {}", units::rows(report.divergent_rows))?;
    writeln!(out, "mended     {}", units::rows(report.mended_rows))?;
    writeln!(out, "sound at   {}", since.as_deref().unwrap_or("no earlier moment is known"))?;
    for row in &report.divergent {
        let key = row.key.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        writeln!(out, "{:<10} {}", row.what.to_string(), printable(&key))?;
    }
    let unnamed = report.divergent_rows.saturating_sub(report.divergent.len() as u64);
    if unnamed > 0 {
        writeln!(out, "and {} more", units::rows(unnamed))?;
    }
    Ok(())
}

fn report_json(report: &AuditReport) -> Json {
    let divergent = report.divergent.iter().map(|row| {
        json!({
            "what": row.what.to_string(),
            "key": row.key.iter().map(value_json).collect::<Json>(),
        })
    });
    json!({
        "table": report.table,
        "rows": report.rows,
        "divergent_rows": report.divergent_rows,
        "mended_rows": report.mended_rows,
        "divergent": divergent.collect::<Json>(),
        "sound_since": report.sound_since.and_then(crate::status::moment),
        "elapsed_seconds": report.elapsed.as_secs_f64(),
    })
}

/// Numbers that JSON has as numbers, and everything else as text.
fn value_json(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::UInt(value) => json!(value),
        value => json!(value.to_string()),
    }
}
