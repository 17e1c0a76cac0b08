//! A client of the sidecar that is written from docs/protocol.md alone: it uses nothing of the code that it tests.

pub(crate) mod cells;
pub(crate) mod layout;
pub(crate) mod msgpack;

use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use msgpack::{Pack, map};

/// A sidecar that takes longer than this to answer is considered stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// Flags of a frame.
pub(crate) const MORE: u16 = 1;
pub(crate) const ERROR: u16 = 2;
pub(crate) const QUIET: u16 = 4;
pub(crate) const DESCRIPTOR: u16 = 8;

/// A connection.
#[derive(Debug)]
pub(crate) struct RawClient {
    pub(crate) stream: UnixStream,
    request: u64,
}

/// An answer, put together from its frames.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) call: u16,
    pub(crate) request: u64,
    pub(crate) is_error: bool,
    pub(crate) body: Vec<u8>,
    pub(crate) descriptor: Option<File>,
}

impl RawAnswer {
    /// The message, or the number of the error.
    pub(crate) fn outcome(&self) -> Result<Pack, u64> {
        let message = Pack::decode(&self.body);
        if self.is_error {
            assert!(!message.field("message").str().is_empty());
            return Err(message.field("code").uint());
        }
        Ok(message)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "calls are written where they are made")]
impl RawClient {
    /// Connects without saying hello.
    pub(crate) fn silent(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, request: 0 }
    }

    /// Connects and says hello.
    pub(crate) fn connect(socket: &Path) -> Self {
        let mut client = Self::silent(socket);
        let answer = client.ok(1, map! { "protocol" => 1_u64, "client" => "raw" });
        assert_eq!(answer.field("protocol").uint(), 1);
        client
    }

    /// The bytes of a request.
    pub(crate) fn frame(call: u16, flags: u16, request: u64, body: &[u8]) -> Vec<u8> {
        let mut frame = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
        frame.extend(call.to_le_bytes());
        frame.extend(flags.to_le_bytes());
        frame.extend(request.to_le_bytes());
        frame.extend(body);
        frame
    }

    /// Makes a call whose request and answer are not MessagePack.
    pub(crate) fn exchange_bytes(&mut self, call: u16, body: &[u8]) -> RawAnswer {
        self.request += 1;
        self.stream.write_all(&Self::frame(call, 0, self.request, body)).unwrap();
        let answer = self.receive().expect("the sidecar closed the connection");
        assert_eq!((answer.call, answer.request), (call, self.request));
        answer
    }

    /// Sends a request and returns its number.
    pub(crate) fn send(&mut self, call: u16, body: &Pack) -> u64 {
        self.request += 1;
        self.stream.write_all(&Self::frame(call, 0, self.request, &body.encode())).unwrap();
        self.request
    }

    /// Sends a request that wants no answer, and returns its number.
    pub(crate) fn tell(&mut self, call: u16, body: &Pack) -> u64 {
        self.request += 1;
        self.stream.write_all(&Self::frame(call, QUIET, self.request, &body.encode())).unwrap();
        self.request
    }

    /// The next answer, to whatever request; `None` if the sidecar closed the connection.
    pub(crate) fn receive(&mut self) -> Option<RawAnswer> {
        let mut body = Vec::new();
        let mut descriptor = None;
        loop {
            let mut header = [0; 16];
            let found = receive_with_descriptor(&mut self.stream, &mut header)?;
            let number = |range: std::ops::Range<usize>| {
                header[range].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
            };
            let flags = u16::try_from(number(6..8)).unwrap();
            assert_eq!(found.is_some(), flags & DESCRIPTOR > 0, "a descriptor comes with its flag only");
            descriptor = descriptor.or(found);
            let start = body.len();
            body.resize(start + usize::try_from(number(0..4)).unwrap(), 0);
            read_exact(&mut self.stream, &mut body[start..])?;
            if flags & MORE == 0 {
                let is_error = flags & ERROR > 0;
                let call = u16::try_from(number(4..6)).unwrap();
                return Some(RawAnswer { call, request: number(8..16), is_error, body, descriptor });
            }
        }
    }

    /// Calls, and waits for the answer.
    pub(crate) fn exchange(&mut self, call: u16, body: &Pack) -> RawAnswer {
        let request = self.send(call, body);
        let answer = self.receive().expect("the sidecar closed the connection");
        assert_eq!((answer.call, answer.request), (call, request));
        answer
    }

    /// The answer or the number of its error.
    pub(crate) fn call(&mut self, call: u16, body: Pack) -> Result<Pack, u64> {
        self.exchange(call, &body).outcome()
    }

    /// The answer of a call that must not fail.
    #[track_caller]
    pub(crate) fn ok(&mut self, call: u16, body: Pack) -> Pack {
        let answer = self.exchange(call, &body);
        assert!(!answer.is_error, "call {call} with {body:?}: {:?}", Pack::decode(&answer.body));
        answer.outcome().unwrap()
    }

    /// Whether the sidecar closes the connection and sends nothing more.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.receive().is_none()
    }

    /// Makes a table of one key column.
    pub(crate) fn define(&mut self, name: &str, key: &str, rows: &RecordBatch) -> u64 {
        let kind = map! { "Define" => map! {
            "name" => name, "primary_key" => vec![Pack::from(key)], "sort_by" => Vec::<Pack>::new(),
        }};
        self.upload(kind, rows).field("id").uint()
    }

    /// Sends rows and commits them.
    pub(crate) fn upload(&mut self, kind: Pack, rows: &RecordBatch) -> Pack {
        let begin = map! { "kind" => kind, "schema" => schema_stream(&rows.schema()) };
        let id = self.ok(17, begin).field("id").uint();
        self.ok(18, map! { "id" => id, "rows" => stream(rows) });
        self.ok(19, map! { "id" => id })
    }
}

/// Reads bytes; `None` if the other end hung up, which is not an error.
fn read_exact(stream: &mut UnixStream, bytes: &mut [u8]) -> Option<()> {
    match stream.read_exact(bytes) {
        Ok(()) => Some(()),
        Err(error) if is_hang_up(&error) => None,
        Err(error) => panic!("{error}"),
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::UnexpectedEof | K::ConnectionReset | K::BrokenPipe)
}

/// Reads bytes, and the descriptor that comes with the first of them; `None` at the end.
fn receive_with_descriptor(stream: &mut UnixStream, bytes: &mut [u8; 16]) -> Option<Option<File>> {
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let (read, numbers) = {
        let mut parts = [IoSliceMut::new(bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(message) => {
                let numbers: Vec<RawFd> = message
                    .cmsgs()
                    .unwrap()
                    .flat_map(|message| match message {
                        ControlMessageOwned::ScmRights(numbers) => numbers,
                        other => panic!("{other:?}"),
                    })
                    .collect();
                (message.bytes, numbers)
            }
            Err(error) if is_hang_up(&error.into()) => return None,
            Err(error) => panic!("{error}"),
        }
    };
    if read == 0 {
        return None;
    }
    assert!(numbers.len() <= 1, "one descriptor at most");
    let descriptor = numbers.first().map(|number| {
        // Opened again through `/proc`, which gives a descriptor with an owner.
        let file = File::open(format!("/proc/self/fd/{number}")).unwrap();
        nix::unistd::close(*number).unwrap();
        file
    });
    read_exact(stream, &mut bytes[read..])?;
    Some(descriptor)
}

/// Columns as a stream without batches.
pub(crate) fn schema_stream(schema: &Schema) -> Vec<u8> {
    StreamWriter::try_new(Vec::new(), schema).unwrap().into_inner().unwrap()
}

/// Rows as a stream of one batch.
pub(crate) fn stream(rows: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).unwrap();
    writer.write(rows).unwrap();
    writer.into_inner().unwrap()
}

/// The columns of a stream.
pub(crate) fn schema_of(stream: &[u8]) -> SchemaRef {
    StreamReader::try_new(stream, None).unwrap().schema()
}

/// The one batch of a stream.
pub(crate) fn batch_of(stream: &[u8]) -> RecordBatch {
    let mut batches = StreamReader::try_new(stream, None).unwrap();
    let batch = batches.next().unwrap().unwrap();
    assert!(batches.next().is_none(), "one batch");
    batch
}

/// Parts of a key.
pub(crate) fn int(value: i64) -> Pack {
    map! { "int" => value }
}

/// A lookup of one key.
pub(crate) fn get(table: u64, key: i64) -> Pack {
    map! { "table" => table, "key" => vec![int(key)] }
}

/// Numbers and names of the calls in the document.
pub(crate) fn documented_calls() -> Vec<(u16, String)> {
    let document =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md")).unwrap();
    let calls = document.split("\n## Calls\n").nth(1).unwrap().split("\n### ").next().unwrap();
    calls
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            Some((cells.next()?.parse().ok()?, cells.next()?.to_owned()))
        })
        .collect()
}
