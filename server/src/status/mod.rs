//! `pillion status`: shows the state of a cache.

mod probe;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use arrow::datatypes::TimeUnit;
use clap::{Args, ValueEnum};
use pillion::{
    FollowPhase, FollowStatus, KeptName, RefreshState, RefreshStatus, Status, TableInfo, Value, Way,
};
use serde_json::{Value as Json, json};

use crate::config::Config;
use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::nearest::NearestParser;
use crate::output::format::Format;
use crate::output::layout::{Layout, printable};
use crate::output::target::Target;
use crate::output::units;

/// Arguments of `pillion status`.
#[derive(Args, Debug)]
#[command(after_long_help = AFTER_HELP)]
pub struct StatusArgs {
    /// Where to look.
    #[command(flatten)]
    pub connection: Connection,

    /// What to write
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = NearestParser::<StatusFormat>::new())]
    pub format: StatusFormat,

    /// Say nothing and exit with 0 if the cache answers, damaged or not: for probes. With --config, also only if the
    /// tables are as `[health]` wants them
    #[arg(long, conflicts_with = "format")]
    pub ready: bool,

    /// Say nothing and exit with 0 if the sidecar lives, also while it loads its tables: for probes
    #[arg(long, conflicts_with_all = ["format", "ready"])]
    pub live: bool,

    /// The configuration of the sidecar that --ready or --live ask for, in the place of --url
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What `status` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    /// Aligned columns for people
    Table,
    /// One JSON object, also with the columns of every table
    Json,
}

const AFTER_HELP: &str = "\
Examples:
  pillion status --url DIR
  pillion status --url 'unix:/run/pillion/pillion.sock?deadline=1' --ready
  pillion status --config /etc/pillion/pillion.toml --ready
  pillion status --config /etc/pillion/pillion.toml --live
  pillion status --url DIR --format json | jq '.tables[] | {name, rows, age_seconds}'";

/// Shows the state of a cache.
///
/// # Errors
/// Of opening and writing; [`Exit::Report`] if there is damage; [`Exit::Retry`] if a sidecar is not ready, or does not live.
pub fn status(args: &StatusArgs) -> Result<(), Failure> {
    match &args.config {
        Some(path) if args.ready => return probe::ready(&Config::read(path)?),
        Some(path) if args.live => return probe::live(&Config::read(path)?),
        Some(_) => return Err(Failure::usage("--config goes with --ready or --live")),
        None => {}
    }
    let cache = args.connection.ask()?;
    if args.ready || args.live {
        return Ok(cache.version().map(drop)?);
    }
    let status = cache.status()?;
    // Only the owner of a cache and its clients know of refreshes.
    let refreshes = cache.refreshes().unwrap_or_default();
    let target = Target::stdout(Format::Table)?;
    let mut out = target.sink().clone();
    let written = match args.format {
        StatusFormat::Table => {
            write_table(&status, &mut out).and_then(|()| write_refreshes(&refreshes, &mut out))
        }
        StatusFormat::Json => writeln!(out, "{:#}", json(&status, &refreshes)),
    };
    written.map_err(|error| target.explain(&error))?;
    target.finish()?;
    let of_table =
        |table: &TableInfo| table.damage.as_ref().map(|damage| format!("table `{}`: {damage}", table.name));
    match status.damage.clone().or_else(|| status.tables.iter().find_map(of_table)) {
        None => Ok(()),
        Some(damage) => Err(Failure::new(Exit::Report, format!("damage was found and left out: {damage}"))
            .hint("keep a copy of the directory and report it; `pillion load` brings rows back from their files")),
    }
}

fn write_table(status: &Status, out: &mut impl Write) -> std::io::Result<()> {
    let (rows, bytes) =
        status.tables.iter().fold((0, 0), |(rows, bytes), it| (rows + it.rows, bytes + it.bytes));
    let (rows, bytes) = (units::rows(rows), units::bytes(bytes));
    writeln!(out, "directory  {}", printable(&status.dir.to_string_lossy()))?;
    writeln!(out, "way        {}", status.way)?;
    writeln!(out, "owner      {}", owner(status))?;
    writeln!(out, "version    {}", status.version)?;
    writeln!(out, "tables     {} with {rows} in {bytes}", status.tables.len())?;
    writeln!(out, "damage     {}", printable(status.damage.as_deref().unwrap_or("none found")))?;
    if let Some(poisoned) = &status.poisoned {
        writeln!(out, "writes     refused: {}", printable(poisoned))?;
    }
    if status.tables.is_empty() {
        return Ok(());
    }
    let columns = ["table", "rows", "size", "segments", "primary key", "sorted by", "age"];
    let mut layout =
        Layout::new(columns.map(|name| (name, matches!(name, "rows" | "size" | "segments" | "age"))));
    let rows: Vec<[String; 7]> = status.tables.iter().map(row).collect();
    rows.iter().for_each(|row| layout.fit(row));
    writeln!(out)?;
    layout.write_header(out)?;
    rows.iter().try_for_each(|row| layout.write_row(out, row))?;
    for table in &status.tables {
        if let Some(damage) = &table.damage {
            writeln!(out, "\n{} is damaged: {}", printable(&table.name), printable(damage))?;
        }
    }
    Ok(())
}

/// How tables are kept fresh, if sources feed some.
fn write_refreshes(refreshes: &[RefreshStatus], out: &mut impl Write) -> std::io::Result<()> {
    if refreshes.is_empty() {
        return Ok(());
    }
    let columns = ["table", "source", "refresh", "succeeded", "failures", "last error"];
    let mut layout = Layout::new(columns.map(|name| (name, matches!(name, "succeeded" | "failures"))));
    let rows: Vec<[String; 6]> = refreshes.iter().map(refresh_row).collect();
    rows.iter().for_each(|row| layout.fit(row));
    writeln!(out)?;
    layout.write_header(out)?;
    rows.iter().try_for_each(|row| layout.write_row(out, row))?;
    write_names(refreshes, out)
}

/// What sources keep under names that this cache does not use, and what its own names cost them.
fn write_names(refreshes: &[RefreshStatus], out: &mut impl Write) -> std::io::Result<()> {
    let mut sources = std::collections::BTreeMap::new();
    for refresh in refreshes {
        if let Some(following) = &refresh.following {
            sources.insert(&refresh.source, &following.names);
        }
    }
    let names: Vec<[String; 4]> = sources
        .iter()
        .flat_map(|(source, names)| names.iter().map(move |name| (source, name)))
        .map(|(source, name)| {
            let used = match (&name.user, name.is_own) {
                (Some(user), true) => format!("this cache, as {user}"),
                (Some(user), false) => format!("another, as {user}"),
                (None, true) => "this cache, not now".to_owned(),
                (None, false) => "nobody now".to_owned(),
            };
            let bytes = name.bytes.map_or_else(|| "-".to_owned(), units::bytes);
            [printable(source), printable(&name.name), bytes, printable(&used)]
        })
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let mut layout = Layout::new(["source", "slot", "keeps", "used by"].map(|name| (name, name == "keeps")));
    names.iter().for_each(|row| layout.fit(row));
    writeln!(out)?;
    layout.write_header(out)?;
    names.iter().try_for_each(|row| layout.write_row(out, row))
}

/// What a table does, in a few words.
fn state(refresh: &RefreshStatus) -> String {
    if let Some(following) = &refresh.following {
        let lag = following.lag.map(|lag| format!(", {} behind", units::bytes(lag))).unwrap_or_default();
        let at =
            following.position.as_deref().map(|position| format!(" at {position}{lag}")).unwrap_or_default();
        return match (&following.phase, &refresh.state) {
            (FollowPhase::Following, _) => format!("following{at}"),
            (FollowPhase::Stale(why), _) => format!("stale: {why}"),
            (FollowPhase::Waiting, RefreshState::Waiting(Some(next))) => {
                format!("tried again in {}", units::age(*next))
            }
            (FollowPhase::Waiting, _) => "waiting".to_owned(),
            (FollowPhase::Copying, RefreshState::Running { rows, bytes, expected_rows, .. }) => {
                let of =
                    expected_rows.map(|rows| format!(" of about {}", units::count(rows))).unwrap_or_default();
                format!("copying: {}{of}, {}", units::rows(*rows), units::bytes(*bytes))
            }
            _ => "unknown".to_owned(),
        };
    }
    match &refresh.state {
        RefreshState::Waiting(Some(next)) => format!("in {}", units::age(*next)),
        RefreshState::Waiting(None) => "by call".to_owned(),
        RefreshState::Due => "due".to_owned(),
        RefreshState::Running { rows, bytes, .. } => {
            format!("running: {}, {}", units::rows(*rows), units::bytes(*bytes))
        }
        RefreshState::Paused => "paused".to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn refresh_row(refresh: &RefreshStatus) -> [String; 6] {
    let error = refresh.last_error.as_ref().map_or_else(|| "-".to_owned(), |error| format!("{error:#}"));
    [
        printable(&refresh.table),
        printable(&refresh.source),
        printable(&state(refresh)),
        units::count(refresh.succeeded),
        units::count(refresh.failures.into()),
        printable(&error),
    ]
}

fn name_json(name: &KeptName) -> Json {
    json!({ "name": name.name, "bytes": name.bytes, "user": name.user, "is_own": name.is_own })
}

fn following_json(following: &FollowStatus) -> Json {
    let (phase, why) = match &following.phase {
        FollowPhase::Copying => ("copying", None),
        FollowPhase::Following => ("following", None),
        FollowPhase::Waiting => ("waiting", None),
        FollowPhase::Stale(why) => ("stale", Some(why)),
        _ => ("unknown", None),
    };
    json!({
        "phase": phase,
        "why": why,
        "name": following.name,
        "position": following.position,
        "last_commit": following.last_commit.and_then(moment),
        "lag": following.lag,
        "lag_seconds": following.lag_time.map(|lag| lag.as_secs_f64()),
        "names": following.names.iter().map(name_json).collect::<Json>(),
        "audit": following.audit.map(|audit| json!({
            "ended": moment(audit.ended),
            "rows": audit.rows,
            "divergent_rows": audit.divergent_rows,
        })),
    })
}

fn refresh_json(refresh: &RefreshStatus) -> Json {
    let (state, rows, expected_rows, next) = match &refresh.state {
        RefreshState::Waiting(next) => ("waiting", None, None, next.map(|next| next.as_secs_f64())),
        RefreshState::Due => ("due", None, None, None),
        RefreshState::Running { rows, expected_rows, .. } => ("running", Some(*rows), *expected_rows, None),
        RefreshState::Paused => ("paused", None, None, None),
        _ => ("unknown", None, None, None),
    };
    json!({
        "table": refresh.table,
        "source": refresh.source,
        "state": state,
        "next_seconds": next,
        "rows": rows,
        "expected_rows": expected_rows,
        "succeeded": refresh.succeeded,
        "failures": refresh.failures,
        "last_error": refresh.last_error.as_ref().map(|error| format!("{error:#}")),
        "last_success": refresh.last_success.and_then(moment),
        "following": refresh.following.as_ref().map(following_json),
    })
}

/// The process that writes, as far as this process knows.
fn owner(status: &Status) -> String {
    let Some(owner) = status.owner else {
        let owner = if status.way == Way::Remote { "the sidecar" } else { "none was seen" };
        return owner.to_owned();
    };
    let since = units::age(SystemTime::now().duration_since(owner.at).unwrap_or_default());
    if owner.closed {
        format!("none; the last one closed the cache {since} ago")
    } else {
        format!("seen {since} ago")
    }
}

fn row(table: &TableInfo) -> [String; 7] {
    let columns =
        |names: &[String]| if names.is_empty() { "-".to_owned() } else { printable(&names.join(", ")) };
    [
        printable(&table.name),
        units::count(table.rows),
        units::bytes(table.bytes),
        units::count(table.segments as u64),
        columns(&table.rules.primary_key),
        columns(&table.rules.sort_by),
        table.freshness.map_or_else(|| "-".to_owned(), |it| age(table, it.age())),
    ]
}

/// How old the rows of a table are, and whether that is too old for reads.
fn age(table: &TableInfo, age: Duration) -> String {
    let shown = units::age(age);
    match table.rules.max_staleness {
        Some(bound) if age > bound => format!("{shown}, stale"),
        _ => shown,
    }
}

fn json(status: &Status, refreshes: &[RefreshStatus]) -> Json {
    json!({
        "way": status.way.to_string(),
        "dir": status.dir.to_string_lossy(),
        "owner": status.owner.map(|owner| json!({ "seen_at": moment(owner.at), "closed": owner.closed })),
        "version": status.version.to_string(),
        "damage": status.damage,
        "poisoned": status.poisoned,
        "tables": status.tables.iter().map(table_json).collect::<Json>(),
        "refreshes": refreshes.iter().map(refresh_json).collect::<Json>(),
    })
}

fn table_json(table: &TableInfo) -> Json {
    let columns = table.schema.fields().iter().map(|field| {
        json!({
            "name": field.name(),
            "type": field.data_type().to_string(),
            "nullable": field.is_nullable(),
        })
    });
    json!({
        "name": table.name,
        "rows": table.rows,
        "bytes": table.bytes,
        "segments": table.segments,
        "primary_key": table.rules.primary_key,
        "sort_by": table.rules.sort_by,
        "write_policy": table.rules.write_policy.to_string(),
        "retention": table.rules.retention.as_ref().map(|it| json!({ "column": it.column, "age_seconds": it.age.as_secs_f64() })),
        "max_staleness_seconds": table.rules.max_staleness.map(|bound| bound.as_secs_f64()),
        "working_set": table.rules.working_set.as_ref().map(|set| json!({
            "where": set.condition,
            "on_miss": set.on_miss.to_string(),
            "coverage": table.coverage,
        })),
        "as_of": table.freshness.and_then(|it| moment(it.as_of)),
        "age_seconds": table.freshness.map(|it| it.age().as_secs_f64()),
        "damage": table.damage,
        "columns": columns.collect::<Json>(),
    })
}

/// The moment in RFC 3339, to the millisecond.
pub(crate) fn moment(time: SystemTime) -> Option<String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let value = i64::try_from(since.as_millis()).ok()?;
    let text = Value::Timestamp { value, unit: TimeUnit::Millisecond }.to_string();
    Some(format!("{}Z", text.replacen(' ', "T", 1)))
}
