//! The program that shows long and wide tables.

use std::io::Write;
use std::process::{Child, Command, Stdio};

/// Quits if all fits the screen, does not wrap lines, leaves the last screen there.
const LESS_OPTIONS: &str = "FSRX";

/// The program that shows long and wide tables.
pub(super) struct Pager {
    /// As a shell takes it.
    command: String,
    is_on: bool,
}

impl Pager {
    /// `PILLION_PAGER`, or else `PAGER`, or else `less`; none if the variable is empty.
    pub(super) fn of_environment() -> Self {
        let named = ["PILLION_PAGER", "PAGER"].iter().find_map(|name| std::env::var(name).ok());
        let command = named.unwrap_or_else(|| "less".to_owned());
        Self { is_on: !command.is_empty(), command }
    }

    /// Turns it on or off, or the other of both; returns which it is now.
    pub(super) fn switch(&mut self, wanted: Option<bool>) -> bool {
        self.is_on = wanted.unwrap_or(!self.is_on) && !self.command.is_empty();
        self.is_on
    }

    /// Starts it; `None` if it is off or is not installed.
    pub(super) fn start(&self) -> Option<(Child, Box<dyn Write + Send>)> {
        if !self.is_on {
            return None;
        }
        let mut command = Command::new("sh");
        // Without the check, the rows would go to a shell that only says that there is no such program.
        let program = self.command.split_whitespace().next()?;
        command.args(["-c", &format!("command -v {program} >/dev/null || exec cat; exec {}", self.command)]);
        if std::env::var_os("LESS").is_none() {
            command.env("LESS", LESS_OPTIONS);
        }
        let mut child = command.stdin(Stdio::piped()).spawn().ok()?;
        let input = child.stdin.take()?;
        Some((child, Box::new(input)))
    }
}
