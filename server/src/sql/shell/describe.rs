//! What `\d` shows.

use std::io::Write;

use pillion::{Cache, TableInfo};

use crate::failure::Failure;
use crate::output::format::Format;
use crate::output::layout::{Layout, printable};
use crate::output::target::Target;
use crate::output::units;

/// Prints the tables.
pub(super) fn tables(cache: &Cache) -> Result<(), Failure> {
    let tables = cache.tables()?;
    if tables.is_empty() {
        println!("there are no tables");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = tables.iter().map(row).collect();
    print(
        &[("table", false), ("rows", true), ("size", true), ("primary key", false), ("age", true)],
        &rows,
        "",
    )
}

/// Prints the columns and rules of a table.
pub(super) fn table(cache: &Cache, name: &str) -> Result<(), Failure> {
    let info = cache.table(name)?.info()?;
    let position = |columns: &[String], name: &str| {
        columns.iter().position(|column| column == name).map_or_else(String::new, |at| (at + 1).to_string())
    };
    let rows: Vec<Vec<String>> = info
        .schema
        .fields()
        .iter()
        .map(|field| {
            vec![
                printable(field.name()),
                field.data_type().to_string(),
                if field.is_nullable() { "null" } else { "not null" }.to_owned(),
                position(&info.rules.primary_key, field.name()),
                position(&info.rules.sort_by, field.name()),
            ]
        })
        .collect();
    let columns =
        [("column", false), ("type", false), ("", false), ("primary key", true), ("sorted by", true)];
    print(&columns, &rows, &below(&info))
}

fn row(info: &TableInfo) -> Vec<String> {
    vec![
        printable(&info.name),
        units::count(info.rows),
        units::bytes(info.bytes),
        printable(&info.rules.primary_key.join(", ")),
        info.freshness.map_or_else(String::new, |freshness| units::age(freshness.age())),
    ]
}

/// What does not fit a column.
fn below(info: &TableInfo) -> String {
    let mut text = format!("{} in {}\n", units::rows(info.rows), units::bytes(info.bytes));
    if let Some(retention) = &info.rules.retention {
        let (column, age) = (printable(&retention.column), units::age(retention.age));
        text += &format!("rows stay until `{column}` is {age} ago\n");
    }
    if let Some(damage) = &info.damage {
        text += &format!("damaged: {}\n", printable(damage));
    }
    text
}

fn print(columns: &[(&str, bool)], rows: &[Vec<String>], below: &str) -> Result<(), Failure> {
    let target = Target::stdout(Format::Table)?;
    let mut layout = Layout::new(columns.iter().copied());
    rows.iter().for_each(|row| layout.fit(row));
    let mut out = target.sink().clone();
    let written = layout
        .write_header(&mut out)
        .and_then(|()| rows.iter().try_for_each(|row| layout.write_row(&mut out, row)))
        .and_then(|()| write!(out, "{below}"));
    written.map_err(|error| target.explain(&error))?;
    target.finish()
}
