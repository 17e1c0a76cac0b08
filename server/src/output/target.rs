//! Standard output, or a file that appears only when it is complete.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::format::Format;
use super::sink::Sink;
use crate::exit::Exit;
use crate::failure::Failure;

/// What to do with a file that exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Leave it alone and fail.
    Keep,
    /// Put the new one in its place.
    Replace,
}

/// Where an answer goes.
///
/// A file is written under its name with `.tmp` at the end, and [`finish`](Self::finish) renames it. Without `finish`,
/// dropping the target removes it, and an existing file of that name stays.
pub(crate) struct Target {
    sink: Sink,
    name: String,
    unfinished: Option<Unfinished>,
}

struct Unfinished {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Target {
    /// Standard output; refuses to fill a terminal with bytes that it cannot show.
    pub(crate) fn stdout(format: Format) -> Result<Self, Failure> {
        if format.is_binary() && io::stdout().is_terminal() {
            return Err(Failure::usage("this format is not text and standard output is a terminal")
                .hint("redirect it, or name a file with --output"));
        }
        let sink = Sink::new(Box::new(io::stdout()));
        Ok(Self { sink, name: "standard output".to_owned(), unfinished: None })
    }

    /// Something else that takes text, such as the input of another program.
    pub(crate) fn text(writer: Box<dyn Write + Send>, name: impl Into<String>) -> Self {
        Self { sink: Sink::new(writer), name: name.into(), unfinished: None }
    }

    /// A file. A pipe, a device or a symbolic link is written to directly, without a temporary file.
    pub(crate) fn file(path: &Path, existing: Existing) -> Result<Self, Failure> {
        if existing == Existing::Keep && path.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(Failure::usage(format!("`{}` exists", path.display()))
                .hint("name another file, or replace it with --force"));
        }
        let name = format!("`{}`", path.display());
        if path.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
            let file = OpenOptions::new().write(true).truncate(true).open(path);
            let file = file.map_err(|error| Failure::file("write", path, &error))?;
            return Ok(Self { sink: Sink::new(Box::new(file)), name, unfinished: None });
        }
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = create_temporary(&temporary)?;
        let writer = file.try_clone().map_err(|error| Failure::file("write", &temporary, &error))?;
        let unfinished = Some(Unfinished { file, temporary, path: path.to_owned() });
        Ok(Self { sink: Sink::new(Box::new(writer)), name, unfinished })
    }

    /// The stream to write to.
    pub(crate) fn sink(&self) -> &Sink {
        &self.sink
    }

    /// The failure behind an encoder's error: that of the stream if it failed, otherwise that of the rows.
    pub(crate) fn explain(&self, error: &(dyn std::error::Error + 'static)) -> Failure {
        match self.sink.failure() {
            Some(error) => Failure::io("write to", &self.name, &error),
            None => Failure::new(Exit::Failed, "the rows cannot be written in this format")
                .because(error)
                .hint("cast or leave out the column, or choose another --format"),
        }
    }

    /// Hands the gathered bytes to the operating system.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.sink.flush().map_err(|error| self.explain(&error))
    }

    /// Makes the file durable and gives it its name.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.flush()?;
        if let Some(Unfinished { file, temporary, path }) = &self.unfinished {
            file.sync_all().map_err(|error| Failure::file("write", temporary, &error))?;
            fs::rename(temporary, path).map_err(|error| Failure::file("write", path, &error))?;
        }
        self.unfinished = None;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(Unfinished { temporary, .. }) = &self.unfinished {
            // The failure that led here is the one to report.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Creates the file, or takes over one that a killed command left. A lock distinguishes such a file from one that is
/// being written: the lock ends with its process.
fn create_temporary(path: &Path) -> Result<File, Failure> {
    let refused = |error: io::Error| Failure::file("write", path, &error);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(refused)?;
    let busy = || Failure::new(Exit::Retry, format!("another command is writing `{}`", path.display()));
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(busy()),
        Err(TryLockError::Error(error)) => return Err(refused(error)),
    }
    // Its former writer may have renamed it between the opening and the lock: then it is not a temporary file any more.
    let locked = file.metadata().map_err(refused)?;
    if !path.metadata().is_ok_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino())) {
        return Err(busy());
    }
    file.set_len(0).map_err(refused)?;
    Ok(file)
}
