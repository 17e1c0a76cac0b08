//! One connection and the threads that answer its calls.

use std::collections::VecDeque;
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
use crate::api::error::{Error, ErrorCode};

/// Calls of one connection that are worked on at a time; further ones wait.
const CALLS_MAX: usize = 32;
/// Calls that wait, and their bytes; further ones are refused. They are not left in the socket, where they would hide that
/// the client cancels a call or is gone.
const WAITING_MAX: usize = 1024;
const WAITING_LEN_MAX: usize = 4 * FRAME_BODY_MAX;

/// Answers the calls of one connection until it ends.
///
/// One thread at a time reads requests. It answers quick calls itself and reads on. Before it answers another one it
/// hands the reading over, so that a call never waits for the hop to another thread and never holds up the next. There
/// is one thread more than there are calls worked on, so somebody always reads.
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

/// Who reads next, and what waits.
#[derive(Default)]
struct Turns {
    /// `None` while a thread reads.
    reader: Option<FrameReader>,
    /// Threads that wait to read.
    idle: usize,
    helpers: Vec<JoinHandle<()>>,
    ended: bool,
    /// Calls that are worked on.
    working: usize,
    waiting: VecDeque<Task>,
    waiting_len: usize,
}

/// A request, and the number by which the session knows it.
struct Task {
    number: u64,
    frame: Frame,
}

/// What a thread does next.
enum Turn {
    Read(FrameReader),
    Answer(Task),
}

impl Connection {
    /// Reads and answers by turns until the connection ends.
    fn take_turns(self: &Arc<Self>) -> io::Result<()> {
        while let Some(turn) = self.wait_for_turn() {
            let task = match turn {
                Turn::Answer(task) => Ok(task),
                Turn::Read(reader) => self.read(reader),
            };
            let replied = task.and_then(|task| {
                let replied = self.reply(&task);
                self.turns.lock().working -= 1;
                replied
            });
            if let Err(error) = replied {
                self.end();
                return Err(error);
            }
        }
        Ok(())
    }

    /// What this thread is to do, once there is something; `None` if the connection has ended.
    fn wait_for_turn(&self) -> Option<Turn> {
        let mut turns = self.turns.lock();
        loop {
            if turns.ended {
                return None;
            }
            if turns.working < CALLS_MAX
                && let Some(task) = turns.waiting.pop_front()
            {
                turns.working += 1;
                turns.waiting_len -= task.frame.body.len();
                return Some(Turn::Answer(task));
            }
            if let Some(reader) = turns.reader.take() {
                return Some(Turn::Read(reader));
            }
            turns.idle += 1;
            self.handed_over.wait(&mut turns);
            turns.idle -= 1;
        }
    }

    /// Reads until there is a call to be worked on, and lets another thread read on.
    fn read(self: &Arc<Self>, mut reader: FrameReader) -> io::Result<Task> {
        loop {
            let frame = self.receive(&mut reader)?;
            let is_quick = Session::is_quick(&frame);
            let task = Task { number: self.session.begin(&frame), frame };
            if is_quick {
                self.reply(&task)?;
                continue;
            }
            let mut turns = self.turns.lock();
            if turns.working < CALLS_MAX {
                self.hand_over(&mut turns, reader)?;
                turns.working += 1;
                return Ok(task);
            }
            let len = turns.waiting_len + task.frame.body.len();
            if turns.waiting.len() < WAITING_MAX && len <= WAITING_LEN_MAX {
                turns.waiting_len = len;
                turns.waiting.push_back(task);
                continue;
            }
            drop(turns);
            let message =
                format!("{CALLS_MAX} calls of the connection are worked on, and as many wait as may");
            let refused = self.session.refuse(task.number, &Error::new(ErrorCode::TooMany, message));
            self.send(&task.frame, refused)?;
        }
    }

    /// Lets another thread read.
    fn hand_over(self: &Arc<Self>, turns: &mut Turns, reader: FrameReader) -> io::Result<()> {
        turns.reader = Some(reader);
        if turns.idle > 0 {
            self.handed_over.notify_one();
        } else if turns.helpers.len() < CALLS_MAX {
            let connection = self.clone();
            let helper = move || {
                if let Err(error) = connection.take_turns() {
                    tracing::debug!(%error, "connection ended");
                }
            };
            turns.helpers.push(std::thread::Builder::new().name("pillion-call".to_owned()).spawn(helper)?);
        }
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
        reader.receive(deadline).map_err(io::Error::other)
    }

    fn reply(&self, task: &Task) -> io::Result<()> {
        let answered = catch_unwind(AssertUnwindSafe(|| self.session.answer(task.number, &task.frame)));
        let answer = answered.unwrap_or_else(|_| {
            let error = Error::internal("the call panicked; others are not affected");
            self.session.refuse(task.number, &error)
        });
        self.send(&task.frame, answer)
    }

    fn send(&self, frame: &Frame, answer: Answer) -> io::Result<()> {
        if frame.flags.contains(Flags::QUIET) {
            return Ok(());
        }
        let Answer { flags, mut body, descriptor } = answer;
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
