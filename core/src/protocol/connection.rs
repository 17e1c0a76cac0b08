//! One connection and the threads that answer its calls.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use pillion_ipc::{FRAME_BODY_MAX, Flags, Frame, FrameReader, FrameWriter};

use super::serve::Shared;
use super::session::{Answer, Session};
use crate::api::error::Error;

/// Calls of one connection that are worked on at a time; further ones wait in the socket.
const CALLS_MAX: usize = 32;

/// Answers the calls of one connection until it ends.
///
/// One thread at a time reads requests. It answers quick calls itself and reads on. Before it answers another one it
/// hands the reading over, so that a call never waits for the hop to another thread and never holds up the next.
pub(super) fn serve(shared: &Arc<Shared>, stream: &UnixStream) -> io::Result<()> {
    // A client that does not read is let go, so that it holds up neither the server nor its end.
    stream.set_write_timeout(Some(shared.options.handshake_timeout))?;
    let mut reader = FrameReader::new(stream.try_clone()?);
    reader.limit_frame_time(shared.options.handshake_timeout);
    let session = Session::new(shared.backend.clone(), shared.options.attach, shared.arenas.clone());
    let connection = Arc::new(Connection {
        shared: shared.clone(),
        session,
        writer: Mutex::new(FrameWriter::new(stream.try_clone()?)),
        turns: Mutex::new(Turns { reader: Some(reader), ..Turns::default() }),
        handed_over: Condvar::new(),
    });
    let outcome = connection.take_turns();
    let helpers = std::mem::take(&mut connection.turns.lock().helpers);
    for helper in helpers {
        if helper.join().is_err() {
            tracing::error!("the thread of a call panicked");
        }
    }
    connection.session.end();
    outcome
}

/// One connection, for the threads that answer its calls.
struct Connection {
    shared: Arc<Shared>,
    session: Session,
    writer: Mutex<FrameWriter>,
    turns: Mutex<Turns>,
    handed_over: Condvar,
}

/// Who reads next.
#[derive(Default)]
struct Turns {
    /// `None` while a thread reads.
    reader: Option<FrameReader>,
    /// Threads that wait to read.
    idle: usize,
    helpers: Vec<JoinHandle<()>>,
    ended: bool,
}

impl Connection {
    /// Reads and answers by turns until the connection ends.
    fn take_turns(self: &Arc<Self>) -> io::Result<()> {
        loop {
            let Some(mut reader) = self.wait_for_turn() else { return Ok(()) };
            let frame = loop {
                let next = self.receive(&mut reader).and_then(|frame| {
                    if !Session::is_quick(&frame) {
                        return Ok(Some(frame));
                    }
                    self.reply(&frame).map(|()| None)
                });
                match next {
                    Ok(None) => {}
                    Ok(Some(frame)) => break frame,
                    Err(error) => {
                        self.end();
                        return Err(error);
                    }
                }
            };
            self.hand_over(reader)?;
            if let Err(error) = self.reply(&frame) {
                self.end();
                return Err(error);
            }
        }
    }

    /// The reader, once nobody else reads; `None` if the connection has ended.
    fn wait_for_turn(&self) -> Option<FrameReader> {
        let mut turns = self.turns.lock();
        loop {
            if turns.ended {
                return None;
            }
            if let Some(reader) = turns.reader.take() {
                return Some(reader);
            }
            turns.idle += 1;
            self.handed_over.wait(&mut turns);
            turns.idle -= 1;
        }
    }

    /// Lets another thread read.
    fn hand_over(self: &Arc<Self>, reader: FrameReader) -> io::Result<()> {
        let mut turns = self.turns.lock();
        if turns.ended {
            return Ok(());
        }
        turns.reader = Some(reader);
        if turns.idle > 0 {
            self.handed_over.notify_one();
        } else if turns.helpers.len() < CALLS_MAX - 1 {
            let connection = self.clone();
            let helper = move || {
                if let Err(error) = connection.take_turns() {
                    tracing::debug!(%error, "connection ended");
                }
            };
            turns.helpers.push(std::thread::Builder::new().name("pillion-call".to_owned()).spawn(helper)?);
        }
        // Else nothing more is read from this connection before a call of it is answered.
        Ok(())
    }

    /// Lets all its threads go, also the one that reads. Calls under way are of no use to anyone, unless it is the server
    /// that ends.
    fn end(&self) {
        self.turns.lock().ended = true;
        self.handed_over.notify_all();
        if !self.shared.stopping.load(Ordering::SeqCst) {
            self.session.end();
            drop(self.writer.lock().shut_down());
        }
    }

    fn receive(&self, reader: &mut FrameReader) -> io::Result<Frame> {
        let timeout = self.shared.options.handshake_timeout;
        let deadline = (!self.session.is_greeted()).then(|| Instant::now() + timeout);
        let frame = reader.receive(deadline).map_err(io::Error::other)?;
        self.session.begin(&frame);
        Ok(frame)
    }

    fn reply(&self, frame: &Frame) -> io::Result<()> {
        let answered = catch_unwind(AssertUnwindSafe(|| self.session.answer(frame)));
        let Answer { flags, mut body, descriptor } = answered.unwrap_or_else(|_| {
            Answer::error(&Error::internal("the call panicked; others are not affected"))
        });
        if frame.flags.contains(Flags::QUIET) {
            return Ok(());
        }
        let answer = |flags, body| Frame { call: frame.call, flags, request: frame.request, body };
        let mut writer = self.writer.lock();
        // Long answers go in parts.
        while body.len() > FRAME_BODY_MAX {
            let rest = body.split_off(FRAME_BODY_MAX);
            let more = Flags::from_bits(flags.bits() | Flags::MORE.bits());
            writer.send(&answer(more, std::mem::replace(&mut body, rest)))?;
        }
        match descriptor {
            Some(descriptor) => writer.send_with(&answer(flags, body), descriptor.as_fd()),
            None => writer.send(&answer(flags, body)),
        }
    }
}
