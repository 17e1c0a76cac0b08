//! What a command reports when it fails.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use pillion::ErrorCode;

use crate::exit::Exit;

/// An error as a person reads it: a message, the causes below it, what to do, and the exit code.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// A failure without a cause below it.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), causes: Vec::new(), hint: None }
    }

    /// The command line contradicts itself.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The operating system refused to `action` a file or stream called `name`. If the reason is that the reader of a
    /// pipe went away, this is not a failure: the reader has what it wanted.
    pub fn io(action: &str, name: &str, error: &io::Error) -> Self {
        let (exit, hint) = match error.kind() {
            ErrorKind::BrokenPipe => return Self::new(Exit::Done, ""),
            ErrorKind::NotFound => (Exit::NotFound, None),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                (Exit::Retry, Some("free some space and try again"))
            }
            _ => (Exit::Report, None),
        };
        let failure = Self::new(exit, format!("cannot {action} {name}")).because(error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// The operating system refused to `action` the file at `path`.
    pub fn file(action: &str, path: &Path, error: &io::Error) -> Self {
        Self::io(action, &format!("`{}`", path.display()), error)
    }

    /// The same failure with a cause, and the causes below that.
    #[must_use]
    pub fn because(mut self, cause: &(dyn Error + 'static)) -> Self {
        let mut next = Some(cause);
        while let Some(error) = next {
            let text = error.to_string();
            // Many errors repeat the message of their cause; once is enough for a person.
            let last = self.causes.last().unwrap_or(&self.message);
            if !text.is_empty() && !last.contains(&text) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// The same failure with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure with `context` in front of its message.
    #[must_use]
    pub fn context(mut self, context: impl std::fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// What happened, without the causes below it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Prints the failure on standard error, or nothing for [`Exit::Done`].
    pub fn print(&self) {
        if self.exit == Exit::Done {
            return;
        }
        let mut text = format!("error: {}\n", self.message.replace('\n', "\n  "));
        for cause in &self.causes {
            let _ = writeln!(text, "  caused by: {}", cause.replace('\n', "\n    "));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "  hint: {hint}");
        }
        // If this fails, there is no other way to report it.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// Its message and the causes below it, on one line.
impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message.replace('\n', "; "))?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl From<pillion::Error> for Failure {
    fn from(error: pillion::Error) -> Self {
        let failure = Self::new(Exit::of(&error), error.message());
        let failure = match error.source() {
            Some(cause) => failure.because(cause),
            None => failure,
        };
        match hint(error.code()) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// What to do about an error of the cache on the command line, if its message does not say it already.
fn hint(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::NotACache => {
            "check --url; `pillion load --url DIR TABLE FILE` makes a cache and loads a table"
        }
        ErrorCode::TableNotFound => "`pillion status` lists the tables",
        ErrorCode::DirectoryLocked => {
            "only one process may write; `sql`, `status` and `export` read beside it; stop it or try again later"
        }
        ErrorCode::InvalidParameter => "give --param VALUE once for each of $1, $2, … in the statement",
        ErrorCode::PermissionDenied => {
            "`allow_uids` and `allow_gids` of the sidecar's configuration say who is admitted"
        }
        ErrorCode::ReadOnly => "leave `mode=ro` out of --url",
        ErrorCode::DiskFull => "free some space and try again",
        ErrorCode::MemoryLimit => "ask for fewer rows or groups at a time",
        ErrorCode::NewerFormat => "use the version of pillion that wrote it, or a newer one",
        ErrorCode::Corrupt => {
            "keep a copy of the directory and report it; `pillion load` brings rows back from their files"
        }
        ErrorCode::OutcomeUnknown => "`pillion status` shows whether the rows are there",
        ErrorCode::Poisoned | ErrorCode::Closed => "run the command again",
        ErrorCode::Internal => "this is a defect of pillion: please report it with the command that you ran",
        _ => return None,
    })
}
