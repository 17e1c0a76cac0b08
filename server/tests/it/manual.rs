//! Completions, pages of the manual and the schema of the configuration come from the command itself.

use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

use crate::support::Dir;

#[test]
fn every_shell_gets_the_commands_and_their_options() {
    let dir = Dir::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = dir.answer(&["completions", shell]);
        for word in ["serve", "config", "refresh", "ready"] {
            assert!(text.contains(word), "{shell} lacks `{word}`");
        }
    }
    dir.run(&["completions", "tcsh"]).fails(2, &["tcsh"]);
}

#[test]
fn every_command_has_a_page_of_the_manual() {
    let dir = Dir::empty();
    let main = dir.answer(&["man"]);
    assert!(main.starts_with(".ie") && main.contains(".TH pillion 1"), "{main}");
    assert!(main.contains("Exit codes"), "{main}");
    for command in ["sql", "status", "export", "load", "serve", "config", "refresh", "warm", "sources"] {
        let page = dir.answer(&["man", command]);
        assert!(
            page.contains(&format!(".TH pillion\\-{command} 1"))
                || page.contains(&format!(".TH pillion-{command} 1")),
            "{page}"
        );
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    assert!(dir.answer(&["man", "config", "check"]).contains("check"));
    dir.run(&["man", "sel"]).fails(2, &["`pillion` has no command `sel`; there are sql, status,"]);
}

/// Whether a value is as a schema says, for the words that this schema uses. Returns the first place that is not.
fn misfit(schema: &Json, value: &Json, at: &str) -> Option<String> {
    if let Some(choices) = schema["anyOf"].as_array() {
        let all: Option<Vec<String>> = choices.iter().map(|choice| misfit(choice, value, at)).collect();
        return all.map(|all| all.join(" and "));
    }
    let is = |word: &str| match word {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the test does not know the type {other}"),
    };
    let types = match &schema["type"] {
        Json::String(one) => vec![one.as_str()],
        Json::Array(several) => several.iter().map(|word| word.as_str().unwrap()).collect(),
        other => panic!("{at} has the type {other}"),
    };
    if !types.into_iter().any(is) {
        return Some(format!("{at} is {value}"));
    }
    if let (Some(words), true) = (schema["enum"].as_array(), value.is_string())
        && !words.contains(value)
    {
        return Some(format!("{at} is {value}"));
    }
    if let (Some(least), Some(number)) = (schema["minimum"].as_i64(), value.as_i64())
        && number < least
    {
        return Some(format!("{at} is {number}"));
    }
    if let Some(items) = value.as_array() {
        return items.iter().find_map(|item| misfit(&schema["items"], item, at));
    }
    let object = value.as_object()?;
    let required = schema["required"].as_array().into_iter().flatten();
    if let Some(missing) = required.map(|key| key.as_str().unwrap()).find(|key| !object.contains_key(*key)) {
        return Some(format!("{at} lacks {missing}"));
    }
    object.iter().find_map(|(key, value)| {
        let at = format!("{at}.{key}");
        match (&schema["properties"][key], &schema["additionalProperties"]) {
            (Json::Null, Json::Bool(false) | Json::Null) => Some(format!("{at} is not known")),
            (Json::Null, others) => misfit(others, value, &at),
            (known, _) => misfit(known, value, &at),
        }
    })
}

fn json_of(text: &str) -> Json {
    fn convert(value: DeValue<'_>) -> Json {
        match value {
            DeValue::Table(table) => object(table),
            DeValue::Array(items) => items.into_iter().map(|item| convert(item.into_inner())).collect(),
            DeValue::String(text) => text.into_owned().into(),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).unwrap().into(),
            DeValue::Float(number) => number.as_str().into(),
            DeValue::Boolean(value) => value.into(),
            DeValue::Datetime(time) => time.to_string().into(),
        }
    }
    fn object(table: DeTable<'_>) -> Json {
        table
            .into_iter()
            .map(|(key, value)| (key.into_inner().into_owned(), convert(value.into_inner())))
            .collect()
    }
    object(DeTable::parse(text).unwrap().into_inner())
}

#[test]
fn the_schema_takes_what_the_sidecar_takes() {
    let dir = Dir::empty();
    let schema: Json = serde_json::from_str(&dir.answer(&["config", "schema"])).unwrap();
    let document =
        std::fs::read_to_string(format!("{}/../docs/configuration.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let example = document.split_once("```toml\n# Every key").unwrap().1.split_once("```").unwrap().0;
    let example = format!("# Every key{example}");
    assert_eq!(misfit(&schema, &json_of(&example), "file"), None);
    for (from, to, misfits) in [
        ("query_threads = 2", "query_thread = 2", "file.query_thread is not known"),
        ("query_threads = 2", "query_threads = 0", "file.query_threads is 0"),
        ("durability = \"interval\"", "durability = \"sometimes\"", "file.durability is \"sometimes\""),
        ("reload = \"start\"", "reload = true", "file.tables.flights.reload is true"),
        ("format = \"json\"", "format = \"xml\"", "file.log"),
        ("ready_fresh = true", "ready_fresh = \"yes\"", "file.health.ready_fresh is \"yes\""),
        ("socket = \"/run/pillion/sidecar/pillion.sock\"", "", "file lacks socket"),
    ] {
        assert!(example.contains(from), "{from}");
        let found = misfit(&schema, &json_of(&example.replace(from, to)), "file").unwrap();
        assert!(found.contains(misfits), "{found}");
    }
    let short = json_of("dir = \"a\"\nsocket = \"b\"\nlog = \"debug\"");
    assert_eq!(misfit(&schema, &short, "file"), None);
}

/// The file that editors are pointed at is the one that the command writes.
#[test]
fn the_published_schema_is_that_of_the_command() {
    let path = format!("{}/../docs/operate/pillion.schema.json", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(Dir::empty().answer(&["config", "schema"]), std::fs::read_to_string(path).unwrap());
}
