//! A section of a file: takes values by key and type.

use std::time::Duration;

use pillion::nearest;
use toml::de::{DeTable, DeValue};

use super::document::{At, Document};
use super::environment::substitute;
use super::keys::Key;
use super::units;

/// How far below the highest value rows are fetched again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Overlap {
    Duration(Duration),
    Number(u64),
}

/// One table of the TOML file.
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    /// How it is called in messages.
    title: String,
    line: usize,
    keys: &'static [Key],
    table: DeTable<'a>,
}

impl<'a> Section<'a> {
    /// The section of a table; its unknown keys are problems.
    pub(super) fn new(
        document: &'a Document<'a>,
        title: String,
        line: usize,
        keys: &'static [Key],
        table: DeTable<'a>,
    ) -> Self {
        for name in table.keys() {
            let unknown: &str = name.get_ref();
            if keys.iter().all(|key| key.name != unknown) {
                let hint = match nearest(unknown, keys.iter().map(|key| key.name)) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => {
                        let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
                        format!("there are {}", known.join(", "))
                    }
                };
                let line = document.line(name.span().start);
                document.problems.add(line, format!("`{unknown}` is not a key of {title}; {hint}"));
            }
        }
        Self { document, title, line, keys, table }
    }

    /// A section within this one, by its key.
    pub(super) fn section(&mut self, name: &str, keys: &'static [Key]) -> Option<Self> {
        let (line, table) = self.table(name)?;
        Some(Self::new(self.document, format!("[{name}]"), line, keys, table))
    }

    /// Whether a key is there with a text.
    pub(super) fn is_text(&self, name: &str) -> bool {
        self.table.get(name).is_some_and(|value| matches!(value.get_ref(), DeValue::String(_)))
    }

    /// The sections of a key such as `tables`, each with its name.
    pub(super) fn sections(&mut self, name: &str, keys: &'static [Key]) -> Vec<(String, Self)> {
        let Some((_, table)) = self.table(name) else { return Vec::new() };
        let mut sections = Vec::new();
        for (key, value) in table {
            let line = self.document.line(key.span().start);
            let title = format!("[{name}.{}]", key.get_ref());
            match value.into_inner() {
                DeValue::Table(table) => {
                    let section = Self::new(self.document, title, line, keys, table);
                    sections.push((key.into_inner().into_owned(), section));
                }
                other => self.problem(line, format!("{title} is {}, not a section", kind(&other))),
            }
        }
        sections.sort_by_key(|(_, section)| section.line);
        sections
    }

    /// Its line.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// A text, with the values of its variables inserted.
    pub(super) fn text(&mut self, name: &'static str) -> Option<At<String>> {
        let value = self.take(name)?;
        match value.value {
            DeValue::String(text) => self.substituted(value.line, &text),
            other => self.wrong(name, value.line, "a text in quotes", &other),
        }
    }

    /// The same as [`text`](Self::text), for a key that must be there.
    pub(super) fn required_text(&mut self, name: &'static str) -> Option<At<String>> {
        self.require(name);
        let text = self.text(name)?;
        if text.value.is_empty() {
            self.problem(text.line, format!("`{name}` is empty"));
            return None;
        }
        Some(text)
    }

    /// One text, or a list of them.
    pub(super) fn texts(&mut self, name: &'static str) -> Vec<At<String>> {
        let Some(value) = self.take(name) else { return Vec::new() };
        let wanted = "a text in quotes, or a list of texts";
        match value.value {
            DeValue::String(text) => self.substituted(value.line, &text).into_iter().collect(),
            DeValue::Array(list) => list
                .into_iter()
                .filter_map(|item| {
                    let line = self.document.line(item.span().start);
                    match item.into_inner() {
                        DeValue::String(text) => self.substituted(line, &text),
                        other => self.wrong(name, line, wanted, &other),
                    }
                })
                .collect(),
            other => self.wrong(name, value.line, wanted, &other).into_iter().collect(),
        }
    }

    /// The same as [`texts`](Self::texts), for a key that must have at least one.
    pub(super) fn required_texts(&mut self, name: &'static str) -> Vec<At<String>> {
        let line = self.line_of(name);
        self.require(name);
        let before = self.document.problems.count();
        let texts = self.texts(name);
        if let Some(line) = line
            && texts.is_empty()
            && self.document.problems.count() == before
        {
            self.problem(line, format!("`{name}` names nothing"));
        }
        texts
    }

    /// Texts by their names, as in `{ region = "eu-west-1" }`, in the order of the names.
    pub(super) fn named_texts(&mut self, name: &'static str) -> Vec<(String, At<String>)> {
        let line = self.line_of(name).unwrap_or(self.line);
        let table = match self.take(name).map(|at| at.value) {
            None => return Vec::new(),
            Some(DeValue::Table(table)) => table,
            // What it is instead may be a secret, and is not shown.
            Some(_) => {
                self.problem(line, format!("`{name}` is not written as {{ NAME = \"TEXT\" }}"));
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for (key, value) in table {
            let line = self.document.line(key.span().start);
            let key = key.into_inner().into_owned();
            let text = match value.into_inner() {
                DeValue::String(text) => self.substituted(line, &text),
                _ => self.refuse(line, format!("`{name}.{key}` is not a text in quotes")),
            };
            texts.extend(text.map(|text| (key, text)));
        }
        texts.sort_by(|(a, _), (b, _)| a.cmp(b));
        texts
    }

    /// A duration with a unit, or a bare number, which may be 0.
    pub(super) fn duration_or_number(&mut self, name: &'static str) -> Option<At<Overlap>> {
        let value = self.take(name)?;
        let line = value.line;
        let found = match &value.value {
            DeValue::Integer(number) => {
                let number = u64::from_str_radix(number.as_str(), number.radix());
                number.map(Overlap::Number).map_err(|_| "it must be a whole number of at least 0".to_owned())
            }
            DeValue::String(text) => {
                let text = self.substituted(line, text)?.value;
                units::duration(&text).map(Overlap::Duration)
            }
            other => return self.wrong(name, line, "a duration such as \"5 min\", or a whole number", other),
        };
        match found {
            Ok(value) => Some(At { line, value }),
            Err(message) => self.refuse(line, format!("`{name}`: {message}")),
        }
    }

    /// A whole number of at least 1.
    pub(super) fn count(&mut self, name: &'static str) -> Option<usize> {
        let value = self.take(name)?;
        let DeValue::Integer(number) = &value.value else {
            return self.wrong(name, value.line, "a whole number", &value.value);
        };
        match usize::from_str_radix(number.as_str(), number.radix()) {
            Ok(count) if count > 0 => Some(count),
            _ => self
                .refuse(value.line, format!("`{name}` is {number}; it must be a whole number of at least 1")),
        }
    }

    /// Numbers of users or groups.
    pub(super) fn ids(&mut self, name: &'static str) -> Vec<u32> {
        let Some(value) = self.take(name) else { return Vec::new() };
        let wanted = "a list of numbers such as [1000, 2000]";
        let DeValue::Array(list) = value.value else {
            return self.wrong(name, value.line, wanted, &value.value).into_iter().collect();
        };
        list.into_iter()
            .filter_map(|item| {
                let line = self.document.line(item.span().start);
                let DeValue::Integer(number) = item.get_ref() else {
                    return self.wrong(name, line, wanted, item.get_ref());
                };
                let id = u32::from_str_radix(number.as_str(), number.radix());
                id.map_or_else(
                    |_| self.refuse(line, format!("`{name}`: {number} is not the number of a user or group")),
                    Some,
                )
            })
            .collect()
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        let value = self.take(name)?;
        match value.value {
            DeValue::Boolean(value) => Some(value),
            other => self.wrong(name, value.line, "true or false, without quotes", &other),
        }
    }

    /// A number of bytes, with a unit or without.
    pub(super) fn size(&mut self, name: &'static str) -> Option<usize> {
        let line = self.line_of(name)?;
        let bytes = self.size_or_none(name)?;
        if bytes == 0 {
            return self.refuse(line, format!("`{name}` is 0; it must be at least 1 byte"));
        }
        Some(bytes)
    }

    /// The same as [`size`](Self::size), for a key that allows 0.
    pub(super) fn size_or_none(&mut self, name: &'static str) -> Option<usize> {
        let value = self.take(name)?;
        let text = match &value.value {
            DeValue::String(text) => self.substituted(value.line, text)?.value,
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
            other => return self.wrong(name, value.line, "a size such as \"256 MiB\"", other),
        };
        match units::size(&text).map(usize::try_from) {
            Ok(Ok(bytes)) => Some(bytes),
            Ok(Err(_)) => {
                self.refuse(value.line, format!("`{name}` is {text}; it is too large for this machine"))
            }
            Err(message) => self.refuse(value.line, format!("`{name}`: {message}")),
        }
    }

    /// A duration with a unit.
    pub(super) fn duration(&mut self, name: &'static str) -> Option<Duration> {
        let value = self.take(name)?;
        let text = match &value.value {
            DeValue::String(text) => self.substituted(value.line, text)?.value,
            other => {
                return self.wrong(name, value.line, "a duration in quotes such as \"500 ms\"", other);
            }
        };
        match units::duration(&text) {
            Ok(duration) if !duration.is_zero() => Some(duration),
            Ok(_) => self.refuse(value.line, format!("`{name}` is {text}; it must be longer")),
            Err(message) => self.refuse(value.line, format!("`{name}`: {message}")),
        }
    }

    /// Bits of a mode: octal in quotes, or as TOML writes octal numbers.
    pub(super) fn mode(&mut self, name: &'static str) -> Option<u32> {
        let value = self.take(name)?;
        let wanted = "a mode such as \"0660\"";
        let text = match &value.value {
            DeValue::String(text) => self.substituted(value.line, text)?.value,
            DeValue::Integer(number) if number.radix() == 8 => number.as_str().to_owned(),
            other => return self.wrong(name, value.line, wanted, other),
        };
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
        if mode.is_none() {
            self.problem(value.line, format!("`{name}` is `{text}`, not {wanted}: octal, from 000 to 777"));
        }
        mode
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Some(*choice);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let hint = match nearest(&text.value, words.iter().copied()) {
            Some(word) => format!("did you mean \"{word}\"?"),
            None => format!("choose one of \"{}\"", words.join("\", \"")),
        };
        self.refuse(text.line, format!("`{name}` is \"{}\"; {hint}", text.value))
    }

    /// The line of a key, if it is there.
    pub(super) fn line_of(&self, name: &str) -> Option<usize> {
        let (key, _) = self.table.get_key_value(name)?;
        Some(self.document.line(key.span().start))
    }

    /// Reports a problem.
    pub(super) fn problem(&self, line: usize, message: impl Into<String>) {
        self.document.problems.add(line, message);
    }

    fn take(&mut self, name: &str) -> Option<At<DeValue<'a>>> {
        debug_assert!(self.keys.iter().any(|key| key.name == name), "`{name}` is in no list of keys");
        let value = self.table.remove(name)?;
        Some(At { line: self.document.line(value.span().start), value: value.into_inner() })
    }

    fn table(&mut self, name: &str) -> Option<(usize, DeTable<'a>)> {
        let key_line = self.line_of(name)?;
        let value = self.take(name)?;
        match value.value {
            DeValue::Table(table) => Some((key_line, table)),
            other => self.wrong(name, value.line, &format!("a section, written as [{name}]"), &other),
        }
    }

    fn require(&self, name: &'static str) {
        if !self.table.contains_key(name) {
            self.problem(self.line, format!("{} lacks `{name}`", self.title));
        }
    }

    fn substituted(&self, line: usize, text: &str) -> Option<At<String>> {
        match substitute(text, self.document.variable) {
            Ok(value) => Some(At { line, value }),
            Err(message) => self.refuse(line, message),
        }
    }

    fn wrong<T>(&self, name: &str, line: usize, wanted: &str, found: &DeValue<'_>) -> Option<T> {
        self.refuse(line, format!("`{name}` is {}, not {wanted}", kind(found)))
    }

    fn refuse<T>(&self, line: usize, message: String) -> Option<T> {
        self.problem(line, message);
        None
    }
}

/// A value in words.
fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text \"{text}\""),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => format!("the time {time}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a section".to_owned(),
    }
}
