//! The stream that an answer is written to.

use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that are gathered before they are handed to the operating system.
const BUFFER_BYTES: usize = 64 << 10;

/// A stream that remembers its first error and counts its bytes.
///
/// Encoders report a failed write as an error of their own and lose its kind. But a full disk, and a reader that went
/// away, must be distinguished from rows that cannot be encoded. Clones are the same stream, so that several encoders,
/// each of which owns its writer, can write one answer after another to it.
#[derive(Clone)]
pub(crate) struct Sink {
    state: Arc<Mutex<State>>,
}

struct State {
    writer: BufWriter<Box<dyn Write + Send>>,
    failure: Option<io::Error>,
    bytes: u64,
}

impl Sink {
    pub(crate) fn new(writer: Box<dyn Write + Send>) -> Self {
        let writer = BufWriter::with_capacity(BUFFER_BYTES, writer);
        Self { state: Arc::new(Mutex::new(State { writer, failure: None, bytes: 0 })) }
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Takes the first error of writing, if there was one.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.lock().failure.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let copy = error.kind().into();
            if error.kind() != io::ErrorKind::Interrupted {
                self.failure.get_or_insert(error);
            }
            copy
        })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        let result = state.writer.write(bytes);
        let written = state.note(result)?;
        state.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut state = self.lock();
        let result = state.writer.flush();
        state.note(result)
    }
}
