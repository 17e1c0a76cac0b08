//! The key `log`: how much is logged, and how.

use std::time::Duration;

use super::keys;
use super::section::Section;

/// How much is logged, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogConfig {
    /// How much is logged.
    pub level: LogLevel,
    /// How lines are written.
    pub format: LogFormat,
    /// Statements that take longer are logged with their text; `None`: none are.
    pub slow_query: Option<Duration>,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// And what may be wrong.
    Warn,
    /// And what the sidecar does.
    #[default]
    Info,
    /// And every connection.
    Debug,
    /// Everything.
    Trace,
}

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

const LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

impl LogConfig {
    /// Reads it from a file. Problems are reported to the document.
    pub(super) fn of(file: &mut Section<'_>) -> Self {
        if file.is_text("log") {
            let level = file.choice("log", &LEVELS).unwrap_or_default();
            return Self { level, ..Self::default() };
        }
        let Some(mut section) = file.section("log", keys::LOG) else { return Self::default() };
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        Self {
            level: section.choice("level", &LEVELS).unwrap_or_default(),
            format: section.choice("format", &formats).unwrap_or_default(),
            slow_query: section.duration("slow_query"),
        }
    }
}
