//! `POST /v1/tables/{table}/rows`: many rows in one commit.
//!
//! The body lies in a file without a name until it has come whole. So a client that breaks off changes nothing, a slow one holds
//! no load up, and the memory of an upload does not depend on its length.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use pillion::{Error, ErrorCode, ErrorKind, FileFormat, FileOptions, Input, Table, Version};
use pillion_access::{Identity, Right};
use tokio::sync::mpsc::{self, Receiver};

use super::rows::written;
use super::work::Work;
use crate::answer::format::Format;
use crate::door::{DOOR, Door};
use crate::guard::Admitted;
use crate::problem::Problem;
use crate::request::body::{self, Parts};
use crate::request::lines::JsonLines;
use crate::request::{frames, path, query};

/// Parts of a body that wait to be written.
const PARTS_WAITING: usize = 4;
/// How an upload is called in messages, in the place of its file.
const NAME: &str = "the body";
/// Arguments that say how CSV is read, as the options of files do.
const CSV_ARGUMENTS: [&str; 4] = ["delimiter", "header", "null", "quote"];

/// What a write does with the rows that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Append,
    Upsert,
    Replace,
}

/// The part of a body, or its end.
enum Part {
    Bytes(Bytes),
    End,
}

pub(super) async fn upload(
    State(door): State<Arc<Door>>,
    Extension(identity): Extension<Identity>,
    Extension(admitted): Extension<Admitted>,
    request: Request,
) -> Result<Response, Problem> {
    let name = path::table(request.uri())?;
    identity.demand(DOOR, Right::Write, Some(&name))?;
    let known: Vec<&str> = ["mode"].into_iter().chain(CSV_ARGUMENTS).collect();
    let arguments = query::arguments(request.uri(), &known)?;
    let mode = mode(arguments.get("mode").map(AsRef::as_ref))?;
    let max = door.options.upload_bytes_max;
    body::check_headers(request.headers(), max)?;
    let format = RowsFormat::of(&body::media_type(request.headers()), &arguments)?;
    let table = door.table(&name).await?;

    let (sender, parts) = mpsc::channel(PARTS_WAITING);
    let dir = door.options.upload_dir.clone();
    let work = Work::begin(admitted, move |wanted| {
        let input = spooled(&dir, format, mode, parts)?;
        wanted.check()?;
        load(|| write(table.blocking(), mode, input))
    });
    let mut body = Parts::new(request.into_body(), max, door.options.head_timeout);
    loop {
        let part = body.next().await?;
        let is_end = part.is_none();
        // The other end is gone if it has failed: its error is the answer.
        if sender.send(part.map_or(Part::End, Part::Bytes)).await.is_err() || is_end {
            break;
        }
    }
    drop(sender);
    written(&door, work.end().await?)
}

fn mode(text: Option<&str>) -> Result<Mode, Problem> {
    match text {
        Some("append") => Ok(Mode::Append),
        Some("upsert") => Ok(Mode::Upsert),
        Some("replace") => Ok(Mode::Replace),
        Some(other) => {
            let other: String = other.chars().take(60).collect();
            let message = format!("the argument `mode` is append, upsert or replace, and not `{other}`");
            Err(Problem::bad_request("InvalidArgument", message))
        }
        None => {
            let message =
                "say what becomes of the rows that are there: mode=append, mode=upsert or mode=replace";
            Err(Problem::bad_request("InvalidArgument", message))
        }
    }
}

fn write(table: &Table, mode: Mode, input: Input) -> pillion::Result<Version> {
    match mode {
        Mode::Append => table.append(input),
        Mode::Upsert => table.upsert(input),
        Mode::Replace => table.replace(input),
    }
}

/// Writes rows. What is wrong with them is told without the name of the file that they lay in.
pub(super) fn load(write: impl FnOnce() -> pillion::Result<Version>) -> Result<Version, Problem> {
    write().map_err(|error| match error.kind() {
        ErrorKind::Request | ErrorKind::Source => Problem::of_rows(&unnamed(&error)),
        _ => Problem::of(&error),
    })
}

/// The same error with [`NAME`] in the place of the path of a file that is open here.
fn unnamed(error: &Error) -> Error {
    let mut text = format!("{error:#}");
    while let Some(start) = text.find("/proc/self/fd/") {
        let digits = text[start..].trim_start_matches("/proc/self/fd/").bytes();
        let len = "/proc/self/fd/".len() + digits.take_while(u8::is_ascii_digit).count();
        text.replace_range(start..start + len, NAME);
    }
    Error::new(error.code(), text)
}

/// The format of rows that a client sends.
#[derive(Clone, Debug)]
pub(super) struct RowsFormat {
    options: FileOptions,
    /// Whether it is a list of objects, or one, and not objects in lines.
    is_json: bool,
    is_arrow: bool,
}

impl RowsFormat {
    /// A JSON object or a list of them.
    pub(super) fn json() -> Self {
        let options = FileOptions::new().format(FileFormat::NdJson).folders(false);
        Self { options, is_json: true, is_arrow: false }
    }

    fn of(media_type: &str, arguments: &BTreeMap<Cow<'_, str>, Cow<'_, str>>) -> Result<Self, Problem> {
        let format = Format::of(media_type).ok_or_else(|| {
            Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UnsupportedMediaType",
                "rows are sent as application/json, application/x-ndjson, text/csv or application/vnd.apache.arrow.stream",
            )
            .hint("with curl: -H 'Content-Type: text/csv' --data-binary @FILE")
        })?;
        let files = FileOptions::new().folders(false);
        let of_csv = CSV_ARGUMENTS.into_iter().find(|name| arguments.contains_key(*name));
        if let (Some(name), false) = (of_csv, format == Format::Csv) {
            return Err(Problem::bad_request("InvalidArgument", format!("the argument `{name}` is for CSV")));
        }
        let mut options = files.format(match format {
            Format::Json | Format::NdJson => FileFormat::NdJson,
            Format::Csv => FileFormat::Csv,
            Format::Arrow => FileFormat::Arrow,
        });
        for name in CSV_ARGUMENTS {
            if let Some(value) = arguments.get(name) {
                options = options.option(name, value)?;
            }
        }
        Ok(Self { options, is_json: format == Format::Json, is_arrow: format == Format::Arrow })
    }
}

/// Writes a body to a file as it comes, and opens it once it has come whole.
fn spooled(dir: &Path, format: RowsFormat, mode: Mode, mut parts: Receiver<Part>) -> Result<Input, Problem> {
    let mut spool = Spool::new(dir, format)?;
    loop {
        match parts.blocking_recv() {
            Some(Part::Bytes(bytes)) => spool.push(&bytes)?,
            // A client whose file was lost sends nothing, and does not mean that.
            Some(Part::End) if mode == Mode::Replace && spool.is_blank => {
                let message = "the body is empty, and mode=replace would remove all rows";
                return Err(Problem::bad_request("EmptyBody", message).hint(
                    "to remove all rows, send the list [] as application/json, or a header line as text/csv",
                ));
            }
            Some(Part::End) => return spool.finish(),
            // Nobody reads this: the request was refused or its client is gone.
            None => return Err(Problem::bad_request("BrokenBody", "the body broke off")),
        }
    }
}

/// A file without a name that holds the body of an upload.
pub(super) struct Spool {
    file: File,
    format: RowsFormat,
    lines: JsonLines,
    buffer: Vec<u8>,
    /// Whether nothing but blanks came so far.
    is_blank: bool,
}

impl Spool {
    /// Makes the file.
    ///
    /// # Errors
    /// 507 or 500 if that is refused.
    pub(super) fn new(dir: &Path, format: RowsFormat) -> Result<Self, Problem> {
        let file = tempfile::tempfile_in(dir).map_err(|error| cannot_keep(&error))?;
        Ok(Self { file, format, lines: JsonLines::default(), buffer: Vec::new(), is_blank: true })
    }

    /// Adds the next bytes of the body.
    ///
    /// # Errors
    /// 400 for JSON that is not a list of objects; 507 or 500.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.is_blank &= bytes.iter().all(u8::is_ascii_whitespace);
        if !self.format.is_json {
            return self.file.write_all(bytes).map_err(|error| cannot_keep(&error));
        }
        self.buffer.clear();
        self.lines.push(bytes, &mut self.buffer).map_err(invalid)?;
        self.file.write_all(&self.buffer).map_err(|error| cannot_keep(&error))
    }

    /// The rows of the whole body.
    ///
    /// # Errors
    /// 400 for a body that cannot be decoded.
    pub(super) fn finish(mut self) -> Result<Input, Problem> {
        if self.format.is_json {
            self.lines.finish().map_err(invalid)?;
        }
        if self.format.is_arrow {
            let checked = frames::check(&mut self.file);
            checked.map_err(|why| invalid(format!("{NAME} is not a stream of Arrow: {why}")))?;
        }
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let file = self.file;
        // The file is there as long as it is open.
        let keep_open = move |_| {
            let _number = file.as_raw_fd();
        };
        Ok(Input::files_with([path], self.format.options).observe(keep_open))
    }
}

fn invalid(message: String) -> Problem {
    Problem::bad_request("InvalidBody", message)
}

fn cannot_keep(error: &std::io::Error) -> Problem {
    use std::io::ErrorKind as Io;
    let full = matches!(error.kind(), Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge);
    let code = if full { ErrorCode::DiskFull } else { ErrorCode::Io };
    // Its text may name a folder of the server.
    tracing::error!(%error, "the body of an upload cannot be kept");
    let why = error.raw_os_error().map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error);
    let detail = format!("the body cannot be kept until it is loaded: {why}");
    Problem::of(&Error::new(code, "a body cannot be kept")).detail(detail)
}
