//! Many calls of many threads over one connection.
//!
//! The thread that makes a call writes it and reads the answer itself: a thread of its own for reading would cost two
//! wake-ups a call. Of several waiting threads one reads for all, and hands over when it has its answer.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::frame::{Flags, Frame};
use crate::halves::{FrameReader, FrameWriter, ReceiveError};

/// A connection that several threads call over; cloning shares it.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// A forked child has the same socket and must not use it.
    process: u32,
    writer: Mutex<FrameWriter>,
    inbox: Mutex<Inbox>,
    arrived: Condvar,
}

#[derive(Debug)]
struct Inbox {
    next_request: u64,
    /// `None` while a thread reads from it.
    reader: Option<FrameReader>,
    answers: HashMap<u64, VecDeque<Frame>>,
    /// Why no more answers will come.
    broken: Option<String>,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The request was not sent: the connection was broken before.
    NotSent(String),
    /// The request was sent and the connection broke before its answer came.
    Lost(String),
    /// The deadline passed before the answer came.
    Timeout,
    /// This process is a fork of the one that made the connection.
    Forked,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(cause) => write!(f, "the connection is broken ({cause}); the request was not sent"),
            Self::Lost(cause) => write!(f, "the connection broke ({cause}) before the answer came"),
            Self::Timeout => f.write_str("the deadline passed before the answer came"),
            Self::Forked => f.write_str("a connection cannot be used after fork; connect again in the child"),
        }
    }
}

impl std::error::Error for CallError {}

impl Client {
    /// Calls over `stream` from now on.
    ///
    /// # Errors
    /// Those of duplicating the descriptor.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        let reader = FrameReader::new(stream.try_clone()?);
        let inbox = Inbox { next_request: 1, reader: Some(reader), answers: HashMap::new(), broken: None };
        let shared = Shared {
            process: std::process::id(),
            writer: Mutex::new(FrameWriter::new(stream)),
            inbox: Mutex::new(inbox),
            arrived: Condvar::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Begins a call; its frames are sent with [`Call::send`].
    ///
    /// # Errors
    /// [`CallError::NotSent`] if the connection is broken, [`CallError::Forked`].
    pub fn begin(&self) -> Result<Call, CallError> {
        if std::process::id() != self.shared.process {
            return Err(CallError::Forked);
        }
        let mut inbox = self.shared.inbox.lock();
        if let Some(cause) = &inbox.broken {
            return Err(CallError::NotSent(cause.clone()));
        }
        let request = inbox.next_request;
        inbox.next_request += 1;
        inbox.answers.insert(request, VecDeque::new());
        drop(inbox);
        Ok(Call { shared: self.shared.clone(), request })
    }

    /// Sends a request of one frame and waits for its answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call(&self, call: u16, body: Vec<u8>, deadline: Option<Instant>) -> Result<Frame, CallError> {
        let pending = self.begin()?;
        pending.send(call, Flags::default(), body)?;
        pending.receive(deadline)
    }

    /// Whether the connection is broken for good.
    pub fn is_broken(&self) -> bool {
        self.shared.inbox.lock().broken.is_some()
    }
}

/// A call under way. Dropping it forgets its answer.
#[derive(Debug)]
pub struct Call {
    shared: Arc<Shared>,
    request: u64,
}

impl Call {
    /// Sends a frame of the request; blocks while the other end does not read.
    ///
    /// # Errors
    /// [`CallError::Lost`].
    pub fn send(&self, call: u16, flags: Flags, body: Vec<u8>) -> Result<(), CallError> {
        let frame = Frame { call, flags, request: self.request, body };
        let sent = self.shared.writer.lock().send(&frame);
        sent.map_err(|error| {
            let cause = error.to_string();
            self.shared.inbox.lock().broken.get_or_insert_with(|| cause.clone());
            self.shared.arrived.notify_all();
            CallError::Lost(cause)
        })
    }

    /// The next frame of the answer; blocks until it is there or the deadline has passed.
    ///
    /// # Errors
    /// [`CallError::Lost`], [`CallError::Timeout`].
    pub fn receive(&self, deadline: Option<Instant>) -> Result<Frame, CallError> {
        let mut inbox = self.shared.inbox.lock();
        loop {
            if let Some(frame) = inbox.answers.get_mut(&self.request).and_then(VecDeque::pop_front) {
                return Ok(frame);
            }
            if let Some(cause) = &inbox.broken {
                return Err(CallError::Lost(cause.clone()));
            }
            let Some(mut reader) = inbox.reader.take() else {
                // Another thread reads for all; it wakes everyone when it hands over.
                let timed_out = match deadline {
                    Some(deadline) => self.shared.arrived.wait_until(&mut inbox, deadline).timed_out(),
                    None => {
                        self.shared.arrived.wait(&mut inbox);
                        false
                    }
                };
                let has_answer = inbox.answers.get(&self.request).is_some_and(|frames| !frames.is_empty());
                if timed_out && !has_answer {
                    return Err(CallError::Timeout);
                }
                continue;
            };
            drop(inbox);
            let received = reader.receive(deadline);
            inbox = self.shared.inbox.lock();
            inbox.reader = Some(reader);
            let outcome = match received {
                Ok(frame) => {
                    // Answers to calls that were given up are dropped.
                    if let Some(frames) = inbox.answers.get_mut(&frame.request) {
                        frames.push_back(frame);
                    }
                    Ok(())
                }
                Err(ReceiveError::Timeout) => Err(CallError::Timeout),
                Err(error) => {
                    inbox.broken.get_or_insert_with(|| error.to_string());
                    Ok(())
                }
            };
            self.shared.arrived.notify_all();
            outcome?;
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.shared.inbox.lock().answers.remove(&self.request);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Answers every frame with its own body, two at a time in the wrong order.
    fn echo_backwards(stream: UnixStream) {
        let mut reader = FrameReader::new(stream.try_clone().unwrap());
        let mut writer = FrameWriter::new(stream);
        while let Ok(first) = reader.receive(None) {
            if first.call == 2
                && let Ok(second) = reader.receive(None)
            {
                writer.send(&second).unwrap();
            }
            writer.send(&first).unwrap();
        }
    }

    #[test]
    fn every_thread_gets_its_own_answer() {
        let (near, far) = UnixStream::pair().unwrap();
        let server =
            std::thread::Builder::new().name("echo".into()).spawn(move || echo_backwards(far)).unwrap();
        let client = Client::new(near).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let client = client.clone();
                scope.spawn(move || {
                    for round in 0..500_u64 {
                        let body = (thread * 1_000_000 + round).to_le_bytes().to_vec();
                        let answer = client.call(1, body.clone(), None).unwrap();
                        assert_eq!(answer.body, body);
                    }
                });
            }
        });
        drop(client);
        server.join().unwrap();
    }

    #[test]
    fn answers_may_come_in_another_order() {
        let (near, far) = UnixStream::pair().unwrap();
        let server =
            std::thread::Builder::new().name("echo".into()).spawn(move || echo_backwards(far)).unwrap();
        let client = Client::new(near).unwrap();
        let (first, second) = (client.begin().unwrap(), client.begin().unwrap());
        first.send(2, Flags::default(), vec![1]).unwrap();
        second.send(1, Flags::default(), vec![2]).unwrap();
        assert_eq!(first.receive(None).unwrap().body, [1]);
        assert_eq!(second.receive(None).unwrap().body, [2]);
        drop((first, second, client));
        server.join().unwrap();
    }

    #[test]
    fn a_deadline_ends_the_wait_and_not_the_connection() {
        let (near, far) = UnixStream::pair().unwrap();
        let client = Client::new(near).unwrap();
        let deadline = Instant::now() + Duration::from_millis(20);
        assert_eq!(client.call(1, vec![1], Some(deadline)).unwrap_err(), CallError::Timeout);
        let server =
            std::thread::Builder::new().name("echo".into()).spawn(move || echo_backwards(far)).unwrap();
        assert_eq!(
            client.call(1, vec![2], None).unwrap().body,
            [2],
            "the late answer to the first is dropped"
        );
        drop(client);
        server.join().unwrap();
    }

    #[test]
    fn a_server_that_goes_away_is_told_apart_from_one_that_never_was() {
        let (near, far) = UnixStream::pair().unwrap();
        let client = Client::new(near).unwrap();
        let call = client.begin().unwrap();
        call.send(1, Flags::default(), vec![1]).unwrap();
        drop(far);
        assert!(matches!(call.receive(None), Err(CallError::Lost(_))));
        assert!(matches!(client.call(1, vec![2], None), Err(CallError::NotSent(_))));
        assert!(client.is_broken());
    }
}
