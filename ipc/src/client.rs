//! Many calls of many threads over one connection.
//!
//! The thread that makes a call writes it and reads the answer itself: a separate thread for reading would cost two
//! wake-ups per call. While several threads wait, one reads for all, and hands the reading over when it has its own
//! answer.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::frame::{Flags, Frame, Head};
use crate::halves::{FrameReader, FrameWriter, ReceiveError};

/// A connection over which several threads make calls; clones share it.
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
    /// Whether no more requests can be sent. Answers may still come, unless the inbox says why they cannot.
    is_broken: AtomicBool,
}

impl Shared {
    fn break_off(&self, inbox: &mut Inbox, error: CallError) {
        inbox.broken.get_or_insert(error);
        self.is_broken.store(true, Ordering::Release);
    }
}

#[derive(Debug)]
struct Inbox {
    next_request: u64,
    /// `None` while a thread reads from it.
    reader: Option<FrameReader>,
    /// Calls under way: so few that a linear search is quicker than hashing.
    calls: Vec<Pending>,
    /// Why no more answers will come; calls under way fail with it.
    broken: Option<CallError>,
}

/// Frames that came for a call and were not taken yet.
#[derive(Debug)]
struct Pending {
    request: u64,
    frames: VecDeque<Frame>,
    descriptor: Option<OwnedFd>,
}

impl Inbox {
    fn call(&mut self, request: u64) -> Option<&mut Pending> {
        self.calls.iter_mut().find(|call| call.request == request)
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The request was not sent: the connection was broken before.
    NotSent(String),
    /// The request was not sent: a frame cannot hold it. The connection is as before.
    TooLong(String),
    /// The request was sent and the connection broke before its answer came.
    Lost(String),
    /// The request was sent, and the other end answered with something that is not a frame.
    Garbled(String),
    /// The deadline passed before the answer came.
    Timeout,
    /// This process is a fork of the one that made the connection.
    Forked,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(cause) => write!(f, "the connection is broken ({cause}); the request was not sent"),
            Self::TooLong(cause) => write!(f, "the request was not sent: {cause}"),
            Self::Lost(cause) => write!(f, "the connection broke ({cause}) before the answer came"),
            Self::Garbled(cause) => write!(f, "the other end does not answer as a sidecar does ({cause})"),
            Self::Timeout => f.write_str("the deadline passed before the answer came"),
            Self::Forked => f.write_str("a connection cannot be used after fork; connect again in the child"),
        }
    }
}

impl std::error::Error for CallError {}

impl Client {
    /// A client that makes its calls over `stream`.
    ///
    /// # Errors
    /// Those of duplicating the descriptor.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        let mut reader = FrameReader::new(stream.try_clone()?);
        reader.take_descriptors();
        let inbox = Inbox { next_request: 1, reader: Some(reader), calls: Vec::new(), broken: None };
        let shared = Shared {
            process: std::process::id(),
            writer: Mutex::new(FrameWriter::new(stream)),
            inbox: Mutex::new(inbox),
            arrived: Condvar::new(),
            is_broken: AtomicBool::new(false),
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
        if self.is_broken() {
            return Err(not_sent(&inbox));
        }
        let request = inbox.next_request;
        inbox.next_request += 1;
        inbox.calls.push(Pending { request, frames: VecDeque::new(), descriptor: None });
        drop(inbox);
        Ok(Call { shared: self.shared.clone(), request })
    }

    /// Sends a request of one frame and waits for its answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call(&self, call: u16, body: &[u8], deadline: Option<Instant>) -> Result<Frame, CallError> {
        let pending = self.begin()?;
        pending.send(call, Flags::default(), body)?;
        pending.receive(deadline)
    }

    /// Whether nothing more can be sent. Does not notice forks; takes no lock.
    pub fn is_broken(&self) -> bool {
        self.shared.is_broken.load(Ordering::Acquire)
    }
}

fn not_sent(inbox: &Inbox) -> CallError {
    CallError::NotSent(match &inbox.broken {
        Some(CallError::Lost(cause) | CallError::Garbled(cause)) => cause.clone(),
        _ => "the other end takes no more requests".to_owned(),
    })
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
    /// [`CallError::NotSent`]: the other end ignores a frame that is cut short. [`CallError::TooLong`], which concerns this
    /// call alone.
    pub fn send(&self, call: u16, flags: Flags, body: &[u8]) -> Result<(), CallError> {
        let shared = &self.shared;
        let mut writer = shared.writer.lock();
        if shared.is_broken.load(Ordering::Acquire) {
            return Err(not_sent(&shared.inbox.lock()));
        }
        writer.send(Head { call, flags, request: self.request }, body).map_err(|error| {
            let cause = error.to_string();
            if error.kind() == io::ErrorKind::InvalidInput {
                return CallError::TooLong(cause);
            }
            if error.kind() == io::ErrorKind::BrokenPipe {
                // The other end takes no more requests, but may still answer those that it has, as a stopping server
                // does. The thread that reads notices when it has finished.
                shared.is_broken.store(true, Ordering::Release);
            } else {
                shared.break_off(&mut shared.inbox.lock(), CallError::Lost(cause.clone()));
                drop(writer.shut_down());
                shared.arrived.notify_all();
            }
            CallError::NotSent(cause)
        })
    }

    /// The next frame of the answer; blocks until it is there or the deadline has passed.
    ///
    /// # Errors
    /// [`CallError::Lost`], [`CallError::Garbled`], [`CallError::Timeout`].
    pub fn receive(&self, deadline: Option<Instant>) -> Result<Frame, CallError> {
        let shared = &self.shared;
        let mut inbox = shared.inbox.lock();
        loop {
            if let Some(frame) = inbox.call(self.request).and_then(|call| call.frames.pop_front()) {
                return Ok(frame);
            }
            if let Some(error) = &inbox.broken {
                return Err(error.clone());
            }
            let Some(mut reader) = inbox.reader.take() else {
                // Another thread reads for all; it wakes everyone when it hands the reading over.
                let timed_out = match deadline {
                    Some(deadline) => shared.arrived.wait_until(&mut inbox, deadline).timed_out(),
                    None => {
                        shared.arrived.wait(&mut inbox);
                        false
                    }
                };
                let has_answer = inbox.call(self.request).is_some_and(|call| !call.frames.is_empty());
                if timed_out && !has_answer {
                    return Err(CallError::Timeout);
                }
                continue;
            };
            drop(inbox);
            let received = catch_unwind(AssertUnwindSafe(|| {
                #[cfg(test)]
                tests::panic_if_planted();
                let received = reader.receive(deadline);
                let descriptor = match &received {
                    Ok(frame) if frame.flags.contains(Flags::DESCRIPTOR) => reader.descriptor(),
                    _ => None,
                };
                (received, descriptor)
            }));
            inbox = shared.inbox.lock();
            let (received, descriptor) = match received {
                Ok(received) => received,
                Err(panic) => {
                    // Nobody knows where the next frame begins, and the others must not wait for this thread.
                    shared.break_off(&mut inbox, CallError::Lost("the thread that read panicked".to_owned()));
                    drop(reader.shut_down());
                    inbox.reader = Some(reader);
                    drop(inbox);
                    shared.arrived.notify_all();
                    resume_unwind(panic);
                }
            };
            let outcome = match received {
                Ok(frame) => {
                    let is_ours = frame.request == self.request;
                    // Answers to calls that were given up are dropped.
                    let mut ours = None;
                    if let Some(call) = inbox.call(frame.request) {
                        if let Some(descriptor) = descriptor {
                            call.descriptor = Some(descriptor);
                        }
                        if is_ours {
                            ours = Some(frame);
                        } else {
                            call.frames.push_back(frame);
                        }
                    }
                    Ok(ours)
                }
                Err(ReceiveError::Timeout) => Err(CallError::Timeout),
                Err(error) => {
                    let cause = error.to_string();
                    let is_garbage = matches!(error, ReceiveError::Frame(_));
                    let broken = if is_garbage { CallError::Garbled(cause) } else { CallError::Lost(cause) };
                    shared.break_off(&mut inbox, broken);
                    // The other end must not keep what nobody will ask for.
                    drop(reader.shut_down());
                    Ok(None)
                }
            };
            inbox.reader = Some(reader);
            shared.arrived.notify_all();
            if let Some(frame) = outcome? {
                return Ok(frame);
            }
        }
    }
}

impl Call {
    /// The number of the request.
    pub fn request(&self) -> u64 {
        self.request
    }

    /// The descriptor that came with a frame of the answer, if one did; it can be taken once.
    pub fn take_descriptor(&self) -> Option<OwnedFd> {
        self.shared.inbox.lock().call(self.request)?.descriptor.take()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut inbox = self.shared.inbox.lock();
        let position = inbox.calls.iter().position(|call| call.request == self.request);
        let dropped = position.map(|position| inbox.calls.swap_remove(position));
        drop(inbox);
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    // One per thread, because other tests run at the same time.
    thread_local! {
        static PANICS: Cell<bool> = const { Cell::new(false) };
    }

    /// Panics instead of reading, on a thread that asked for it.
    pub(super) fn panic_if_planted() {
        assert!(!PANICS.get(), "planted");
    }

    #[test]
    fn a_panic_of_the_thread_that_reads_for_all_leaves_nobody_waiting() {
        let (near, far) = UnixStream::pair().unwrap();
        let client = Client::new(near).unwrap();
        let other = client.begin().unwrap();
        let panics = {
            let client = client.clone();
            std::thread::Builder::new().spawn(move || {
                PANICS.set(true);
                client.call(1, &[], None).map(drop)
            })
        };
        assert!(panics.unwrap().join().is_err());
        assert!(matches!(other.receive(None), Err(CallError::Lost(_))));
        assert!(client.is_broken());
        assert!(matches!(client.begin(), Err(CallError::NotSent(_))));
        drop(far);
    }

    /// Answers every frame with its own body, two at a time in the wrong order.
    fn echo_backwards(stream: UnixStream) {
        let mut reader = FrameReader::new(stream.try_clone().unwrap());
        let mut writer = FrameWriter::new(stream);
        while let Ok(first) = reader.receive(None) {
            if first.call == 2
                && let Ok(second) = reader.receive(None)
            {
                writer.send(second.head(), &second.body).unwrap();
            }
            writer.send(first.head(), &first.body).unwrap();
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
                        let answer = client.call(1, &body, None).unwrap();
                        assert_eq!(answer.body, body);
                    }
                });
            }
        });
        drop(client);
        server.join().unwrap();
    }

    #[test]
    fn a_request_that_is_too_long_fails_alone() {
        let (near, far) = UnixStream::pair().unwrap();
        let server =
            std::thread::Builder::new().name("echo".into()).spawn(move || echo_backwards(far)).unwrap();
        let client = Client::new(near).unwrap();
        let waits = client.begin().unwrap();
        waits.send(1, Flags::default(), &[1]).unwrap();
        let too_long = vec![0; crate::frame::FRAME_BODY_MAX + 1];
        assert!(matches!(client.call(1, &too_long, None), Err(CallError::TooLong(_))));
        assert!(!client.is_broken());
        assert_eq!(waits.receive(None).unwrap().body, [1], "the calls of others go on");
        assert_eq!(client.call(1, &[2], None).unwrap().body, [2]);
        drop((waits, client));
        server.join().unwrap();
    }

    #[test]
    fn answers_may_come_in_another_order() {
        let (near, far) = UnixStream::pair().unwrap();
        let server =
            std::thread::Builder::new().name("echo".into()).spawn(move || echo_backwards(far)).unwrap();
        let client = Client::new(near).unwrap();
        let (first, second) = (client.begin().unwrap(), client.begin().unwrap());
        first.send(2, Flags::default(), &[1]).unwrap();
        second.send(1, Flags::default(), &[2]).unwrap();
        assert_eq!(first.receive(None).unwrap().body, [1]);
        assert_eq!(second.receive(None).unwrap().body, [2]);
        drop((first, second, client));
        server.join().unwrap();
    }

    #[test]
    fn a_descriptor_comes_with_the_answer_to_its_request() {
        let (near, far) = UnixStream::pair().unwrap();
        let server = std::thread::Builder::new()
            .name("descriptors".into())
            .spawn(move || {
                let mut reader = FrameReader::new(far.try_clone().unwrap());
                let mut writer = FrameWriter::new(far);
                for number in [1_u8, 2] {
                    let frame = reader.receive(None).unwrap();
                    let mut file = tempfile::tempfile().unwrap();
                    io::Write::write_all(&mut file, &[number]).unwrap();
                    writer.send_with(frame.head(), &frame.body, std::os::fd::AsFd::as_fd(&file)).unwrap();
                }
                // A client that sends one breaks the protocol.
                assert!(matches!(reader.receive(None), Err(ReceiveError::Io(_))));
            })
            .unwrap();
        let mut strange = FrameWriter::new(near.try_clone().unwrap());
        let client = Client::new(near).unwrap();
        let calls = [client.begin().unwrap(), client.begin().unwrap()];
        calls.iter().for_each(|call| call.send(1, Flags::default(), &[7; 100_000]).unwrap());
        for (call, number) in calls.iter().zip([1_u8, 2]) {
            assert_eq!(call.receive(None).unwrap().body.len(), 100_000);
            let file = std::fs::File::from(call.take_descriptor().unwrap());
            let mut byte = [0];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, 0).unwrap();
            assert_eq!(byte, [number]);
            assert!(call.take_descriptor().is_none());
        }
        let file = tempfile::tempfile().unwrap();
        strange.send_with(Head::default(), &[], std::os::fd::AsFd::as_fd(&file)).unwrap();
        server.join().unwrap();
    }

    #[test]
    fn a_deadline_ends_the_wait_and_not_the_connection() {
        let (near, far) = UnixStream::pair().unwrap();
        let client = Client::new(near).unwrap();
        let deadline = Instant::now() + Duration::from_millis(20);
        assert_eq!(client.call(1, &[1], Some(deadline)).unwrap_err(), CallError::Timeout);
        let server =
            std::thread::Builder::new().name("echo".into()).spawn(move || echo_backwards(far)).unwrap();
        assert_eq!(client.call(1, &[2], None).unwrap().body, [2], "the late answer to the first is dropped");
        drop(client);
        server.join().unwrap();
    }

    #[test]
    fn what_a_server_has_is_answered_although_it_takes_no_more() {
        let (near, far) = UnixStream::pair().unwrap();
        let client = Client::new(near).unwrap();
        let first = client.begin().unwrap();
        first.send(1, Flags::default(), &[1]).unwrap();
        let mut reader = FrameReader::new(far.try_clone().unwrap());
        let taken = reader.receive(None).unwrap();
        far.shutdown(std::net::Shutdown::Read).unwrap();
        assert!(matches!(client.call(1, &[2], None), Err(CallError::NotSent(_))));
        assert!(client.is_broken(), "another connection is needed");
        assert!(matches!(client.begin(), Err(CallError::NotSent(cause)) if !cause.is_empty()));
        FrameWriter::new(far).send(taken.head(), &[3]).unwrap();
        assert_eq!(first.receive(None).unwrap().body, [3]);
    }

    #[test]
    fn a_server_that_goes_away_is_told_apart_from_one_that_never_was() {
        let (near, far) = UnixStream::pair().unwrap();
        let client = Client::new(near).unwrap();
        let call = client.begin().unwrap();
        call.send(1, Flags::default(), &[1]).unwrap();
        drop(far);
        assert!(matches!(call.receive(None), Err(CallError::Lost(_))));
        assert!(matches!(client.call(1, &[2], None), Err(CallError::NotSent(_))));
        assert!(client.is_broken());
    }
}
