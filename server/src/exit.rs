//! Exit codes, for scripts.

use std::process::ExitCode;

use pillion::{ErrorCode, ErrorKind};

/// How the command ended; `pillion --help` lists the numbers, which never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nobody reads the answer any more.
    Done = 0,
    /// The query or the data is wrong.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// There is no such cache, table or file, or the cache is one that this version cannot open.
    NotFound = 3,
    /// Nothing was changed and the same command can succeed later.
    Retry = 4,
    /// Damage, a refusal of the operating system or the sidecar, an unknown outcome, or a defect: look into it before trying
    /// again.
    Report = 5,
}

impl Exit {
    /// The exit code for an error of the cache.
    pub fn of(error: &pillion::Error) -> Self {
        match error.code() {
            ErrorCode::NotACache
            | ErrorCode::TableNotFound
            | ErrorCode::SourceNotFound
            | ErrorCode::NewerFormat
            | ErrorCode::UnsupportedFileSystem => Self::NotFound,
            ErrorCode::InvalidArgument => Self::Usage,
            ErrorCode::PermissionDenied => Self::Report,
            code => match code.kind() {
                ErrorKind::Retry | ErrorKind::Reopen => Self::Retry,
                ErrorKind::Report | ErrorKind::OutcomeUnknown => Self::Report,
                _ => Self::Failed,
            },
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
