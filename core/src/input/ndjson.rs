//! Files of JSON objects, one a line.
//!
//! A number, `true` or `false` becomes the text that the file has, and that becomes a value as a field of a CSV file does.
//! Objects and lists stay the JSON text that they are.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::codec::Bytes;
use super::csv::{BATCH_LEN, BATCH_ROWS, InferredType, TextColumns, TextRows};
use super::file;
use super::reading::FileBatches;
use crate::types::error::{Error, Result};

const NOT_NDJSON: &str = "cannot be read as JSON objects, one a line";
const LINE_LEN_MAX: u64 = 256 << 20;
const BUFFER_LEN: usize = 64 << 10;

/// The columns of a file, from all of its rows.
///
/// # Errors
/// [`SourceInvalid`](crate::ErrorCode::SourceInvalid), with the line.
pub(super) fn look(name: &str, bytes: Bytes) -> Result<Vec<(String, InferredType)>> {
    let mut lines = Lines::new(name, bytes);
    let mut columns: Vec<(String, InferredType)> = Vec::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    while let Some(line) = lines.next()? {
        for (name, value) in line.object()?.0 {
            let number = match numbers.get(name.0.as_ref()) {
                Some(number) => *number,
                None => {
                    let name = name.0.into_owned();
                    numbers.insert(name.clone(), columns.len());
                    columns.push((name, InferredType::default()));
                    columns.len() - 1
                }
            };
            let Some((_, seen)) = columns.get_mut(number) else { continue };
            match value.get().as_bytes().first() {
                Some(b'n') => {}
                Some(b'"' | b'{' | b'[') => seen.is_text(),
                _ => seen.look_at_text(value.get()),
            }
        }
    }
    Ok(columns)
}

/// Opens a file.
///
/// # Errors
/// [`UnsupportedType`](crate::ErrorCode::UnsupportedType) for types that texts cannot hold.
pub(super) fn open(name: &str, bytes: Bytes, wanted: &Schema) -> Result<FileBatches> {
    let numbers = wanted.fields().iter().enumerate().map(|(number, field)| (field.name().clone(), number));
    Ok(Box::new(JsonBatches {
        lines: Lines::new(name, bytes),
        numbers: numbers.collect(),
        columns: TextColumns::new(wanted.clone().into())?,
        rows: TextRows::new(wanted.fields().len()),
        is_over: false,
    }))
}

struct JsonBatches {
    lines: Lines,
    /// Where each wanted column is.
    numbers: HashMap<String, usize>,
    columns: TextColumns,
    rows: TextRows,
    is_over: bool,
}

impl JsonBatches {
    fn read(&mut self) -> Result<Option<RecordBatch>> {
        self.rows.clear();
        while self.rows.rows() < BATCH_ROWS && self.rows.bytes() < BATCH_LEN {
            let Some(line) = self.lines.next()? else { break };
            let mut fields: Vec<Option<Cow<'_, str>>> = vec![None; self.numbers.len()];
            let mut is_seen = vec![false; self.numbers.len()];
            for (name, value) in line.object()?.0 {
                let Some(number) = self.numbers.get(name.0.as_ref()).copied() else { continue };
                if std::mem::replace(&mut is_seen[number], true) {
                    return Err(line.wrong(format!("the object has `{}` twice", name.0)));
                }
                fields[number] = line.text(value)?;
            }
            self.rows.push(line.number, fields.iter().map(Option::as_deref));
        }
        match self.rows.rows() {
            0 => Ok(None),
            _ => Ok(Some(self.columns.convert(&self.lines.path, &self.rows)?)),
        }
    }
}

impl Iterator for JsonBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let batch = self.read();
        self.is_over = !matches!(batch, Ok(Some(_)));
        batch.transpose()
    }
}

/// The lines of a file that are not empty.
struct Lines {
    path: PathBuf,
    source: BufReader<Bytes>,
    buffer: Vec<u8>,
    number: u64,
}

struct Line<'a> {
    path: &'a PathBuf,
    number: u64,
    text: &'a str,
}

impl Lines {
    fn new(name: &str, bytes: Bytes) -> Self {
        let source = BufReader::with_capacity(BUFFER_LEN, bytes);
        Self { path: name.into(), source, buffer: Vec::new(), number: 0 }
    }

    fn next(&mut self) -> Result<Option<Line<'_>>> {
        loop {
            self.buffer.clear();
            self.number += 1;
            let read = (&mut self.source).take(LINE_LEN_MAX).read_until(b'\n', &mut self.buffer);
            let read = read.map_err(|error| file::invalid(&self.path, "cannot be read", error))?;
            if read as u64 == LINE_LEN_MAX {
                let message = format!("line {} is longer than {LINE_LEN_MAX} bytes", self.number);
                return Err(file::invalid(&self.path, NOT_NDJSON, message));
            }
            if read == 0 {
                return Ok(None);
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        match std::str::from_utf8(&self.buffer) {
            Ok(text) => {
                let text = if self.number == 1 { text.trim_start_matches('\u{feff}') } else { text };
                Ok(Some(Line { path: &self.path, number: self.number, text }))
            }
            Err(_) => {
                let message = format!("line {} is not text in UTF-8", self.number);
                Err(file::invalid(&self.path, NOT_NDJSON, message))
            }
        }
    }
}

impl<'a> Line<'a> {
    fn object(&self) -> Result<Object<'a>> {
        if self.text.trim_start().starts_with('[') {
            return Err(self
                .wrong("it is a list, not an object: write each object of the list into a line of its own"));
        }
        serde_json::from_str(self.text).map_err(|error| self.wrong(explained(&error)))
    }

    /// The text of a value, `None` for a null.
    fn text(&self, value: &'a RawValue) -> Result<Option<Cow<'a, str>>> {
        match value.get().as_bytes().first() {
            Some(b'n') => Ok(None),
            Some(b'"') => match serde_json::from_str::<Text<'a>>(value.get()) {
                Ok(text) => Ok(Some(text.0)),
                Err(error) => Err(self.wrong(explained(&error))),
            },
            _ => Ok(Some(value.get().into())),
        }
    }

    fn wrong(&self, why: impl fmt::Display) -> Error {
        file::invalid(self.path, NOT_NDJSON, format!("line {}: {why}", self.number))
    }
}

/// What a parser of one line says, which knows nothing of other lines.
fn explained(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    format!("{what}, at byte {} of the line", error.column())
}

/// The members of an object as they stand in a line.
struct Object<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(Text<'de>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Members).map(Self)
    }
}

/// A text without its quotes and escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
