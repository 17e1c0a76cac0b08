//! The JSON schema of a configuration, made from the list of its keys: for editors that complete and check TOML.

use std::io::Write;

use serde_json::{Map, Value as Json, json};

use super::keys::{self, Key, Kind};
use crate::failure::Failure;
use crate::output::format::Format;
use crate::output::target::Target;

/// Writes the schema.
///
/// # Errors
/// Of writing.
pub(super) fn write() -> Result<(), Failure> {
    let target = Target::stdout(Format::Table)?;
    let mut out = target.sink().clone();
    writeln!(out, "{:#}", schema()).map_err(|error| target.explain(&error))?;
    target.finish()
}

fn schema() -> Json {
    let mut schema = section(keys::TOP);
    schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".to_owned(), "Configuration of a Pillion sidecar".into());
    schema.into()
}

/// The schema of a section with some keys. There may be no others.
fn section(keys: &[Key]) -> Map<String, Json> {
    let required = |key: &&Key| key.default == "required";
    let required: Vec<&str> = keys.iter().filter(required).map(|key| key.name).collect();
    let properties: Map<String, Json> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let mut section = Map::new();
    section.insert("type".to_owned(), "object".into());
    section.insert("properties".to_owned(), properties.into());
    section.insert("additionalProperties".to_owned(), false.into());
    if !required.is_empty() {
        section.insert("required".to_owned(), required.into());
    }
    section
}

/// The schema of a key. Its description is its default, in the words of the document.
fn property(key: &Key) -> Json {
    let mut property = match key.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Texts => {
            json!({ "type": ["string", "array"], "items": { "type": "string" } })
        }
        Kind::NamedTexts => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Size => json!({ "type": ["string", "integer"], "minimum": 0 }),
        Kind::Duration => json!({ "type": "string" }),
        Kind::DurationOrNumber => json!({ "type": ["string", "integer"], "minimum": 0 }),
        Kind::Count => json!({ "type": "integer", "minimum": 1 }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Mode => json!({ "type": ["string", "integer"], "minimum": 0, "maximum": 0o777 }),
        Kind::Ids => json!({ "type": "array", "items": { "type": "integer", "minimum": 0 } }),
        Kind::Section => section(keys_of(key.name)).into(),
        Kind::Sections => {
            json!({ "type": "object", "additionalProperties": section(keys_of(key.name)) })
        }
        Kind::LevelOrSection => {
            json!({ "anyOf": [{ "type": "string", "enum": keys::LEVELS }, section(keys_of(key.name))] })
        }
    };
    let is_section = matches!(key.kind, Kind::Section | Kind::Sections | Kind::LevelOrSection);
    if !is_section && let Some(property) = property.as_object_mut() {
        let description = match key.default {
            "required" => "required".to_owned(),
            default => format!("default: {default}"),
        };
        property.insert("description".to_owned(), description.into());
    }
    property
}

/// The keys of the sections that a key stands for.
fn keys_of(name: &str) -> &'static [Key] {
    match name {
        "access" => keys::ACCESS,
        "log" => keys::LOG,
        "health" => keys::HEALTH,
        "http" => keys::HTTP,
        "flight_sql" => keys::FLIGHT_SQL,
        "anonymous" => keys::PERMISSIONS,
        "tokens" => keys::TOKEN,
        "sources" => keys::SOURCE,
        "tables" => keys::TABLE,
        _ => &[],
    }
}
