//! One connection and the threads that answer its calls.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use pillion_ipc::{FRAME_BODY_MAX, Flags, Frame, FrameReader, FrameWriter, Head};

use super::calls::{self, lane_of};
use super::planted::{self, PanicPlace};
use super::session::{Answer, Session};
use super::state::ServerState;
use crate::blocking::brief;
use crate::types::error::{Error, ErrorCode};
use crate::types::panics;
use crate::types::recorder::{DOOR_SOCKET, Event, code};

/// Calls of one connection that run at a time, per lane; further ones wait.
const CALLS_MAX: [usize; LANES] = [24, 16, 16];
/// Most calls that wait per lane, and most bytes of their requests; one more is refused.
const WAITING_MAX: usize = 256;
const WAITING_LEN: usize = 32 << 20;

/// Memory that a thread keeps from one lookup to the next.
const KEPT_LEN: usize = 1 << 20;

/// Kinds of calls that do not wait for each other: uploads make progress whatever else is asked, and queries while lookups wait for a
/// source.
const LANES: usize = 3;
/// The lane of calls that take long.
const SLOW: usize = 0;
const UPLOAD: usize = 1;
/// The lane of lookups that have to wait for a source.
const WAITING: usize = 2;

/// Answers the calls of one connection of a user until it ends.
///
/// One thread at a time reads requests. It answers quick calls itself and reads on. Before it answers a slow one, it
/// hands the reading over to another thread. So a call never waits for a switch of threads, and never delays the next
/// one. There is one thread more than there are calls running, so somebody always reads.
pub(super) fn serve(shared: &Arc<ServerState>, stream: &UnixStream, uid: u32, number: u64) -> io::Result<()> {
    // A client that does not read is disconnected, so that it holds up neither the server nor its end.
    stream.set_write_timeout(Some(shared.options.handshake_timeout))?;
    let mut reader = FrameReader::new(stream.try_clone()?);
    reader.limit_frame_time(shared.options.handshake_timeout);
    let (backend, uploads) = (shared.backend.clone(), shared.uploads.clone());
    let session = Session::new(backend, shared.options.attach, shared.arenas.clone(), uploads, uid);
    let connection = Arc::new(Connection {
        shared: shared.clone(),
        number,
        session,
        greeted_by: Instant::now().checked_add(shared.options.handshake_timeout),
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

/// One connection, as the threads that answer its calls share it.
struct Connection {
    shared: Arc<ServerState>,
    /// Tells it from other connections in the log.
    number: u64,
    session: Session,
    /// Until when the client must have said hello.
    greeted_by: Option<Instant>,
    writer: Mutex<FrameWriter>,
    turns: Mutex<Turns>,
    handed_over: Condvar,
}

/// Who reads next, and which calls run or wait.
#[derive(Default)]
struct Turns {
    /// `None` while a thread reads.
    reader: Option<FrameReader>,
    /// Threads that wait to read.
    idle: usize,
    helpers: Vec<JoinHandle<()>>,
    lanes: [Lane; LANES],
    ended: bool,
}

/// A request, and the session's number for it.
struct Task {
    number: u64,
    frame: Frame,
    /// When it was read, if calls are recorded: the time that it waits is part of its duration.
    began: Option<Instant>,
}

/// Calls of one kind.
#[derive(Default)]
struct Lane {
    running: usize,
    waiting: VecDeque<Task>,
    waiting_len: usize,
}

/// What happens to a call that was read.
enum Placed {
    /// The thread that read it answers it; another one reads.
    Here(Task),
    /// It waits for a running call of its lane to end.
    Later,
    /// Too many calls wait already; it is refused.
    Refused(Task),
}

impl Connection {
    /// Reads and answers in turns until the connection ends.
    fn take_turns(self: &Arc<Self>) -> io::Result<()> {
        let outcome = panics::catch(
            || self.work(),
            || {
                tracing::error!("a thread of a connection panicked; the connection ends");
                io::Error::other("a thread of the connection panicked")
            },
        );
        if outcome.is_err() {
            self.end();
        }
        outcome
    }

    fn work(self: &Arc<Self>) -> io::Result<()> {
        let (mut frame, mut found) = (Frame::default(), Vec::new());
        while let Some(mut reader) = self.wait_for_turn() {
            let (lane, task) = loop {
                self.receive(&mut reader, &mut frame)?;
                planted::panic_at(&self.shared, PanicPlace::Request);
                if Session::is_lookup(&frame) {
                    let is_answered = self.look_up(&frame, &mut found)?;
                    if is_answered {
                        if frame.body.capacity() > KEPT_LEN {
                            frame = Frame::default();
                        }
                        continue;
                    }
                }
                let (number, began) = (self.session.begin(&frame), self.shared.recording.begin());
                let task = Task { number, frame: std::mem::take(&mut frame), began };
                let lane = match place_of(&task.frame) {
                    Some(lane) => lane,
                    None if self.reply_briefly(&task)? => continue,
                    None => WAITING,
                };
                if let Some(answer) = self.answer_known(&task) {
                    self.send(&task.frame, answer)?;
                    continue;
                }
                match self.place(lane, task) {
                    Placed::Here(task) => break (lane, task),
                    Placed::Later => {}
                    Placed::Refused(task) => self.refuse(&task)?,
                }
            };
            self.hand_over(reader);
            let mut next = Some(task);
            while let Some(task) = next {
                self.reply(&task)?;
                next = self.next_waiting(lane);
            }
        }
        Ok(())
    }

    /// Decides who answers a call.
    fn place(&self, lane: usize, task: Task) -> Placed {
        let mut turns = self.turns.lock();
        let place = &mut turns.lanes[lane];
        if place.running < CALLS_MAX[lane] {
            place.running += 1;
            return Placed::Here(task);
        }
        let len = place.waiting_len + task.frame.body.len();
        if place.waiting.len() >= WAITING_MAX || len > WAITING_LEN {
            return Placed::Refused(task);
        }
        place.waiting_len = len;
        place.waiting.push_back(task);
        Placed::Later
    }

    /// After a call of a lane was answered: the next one that waits there.
    fn next_waiting(&self, lane: usize) -> Option<Task> {
        let mut turns = self.turns.lock();
        let place = &mut turns.lanes[lane];
        let next = place.waiting.pop_front();
        match &next {
            Some(task) => place.waiting_len -= task.frame.body.len(),
            None => place.running -= 1,
        }
        next
    }

    /// The reader, once no other thread reads; `None` if the connection has ended.
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
    fn hand_over(self: &Arc<Self>, reader: FrameReader) {
        let mut turns = self.turns.lock();
        if turns.ended {
            return;
        }
        turns.reader = Some(reader);
        if turns.idle > 0 {
            self.handed_over.notify_one();
            return;
        }
        let connection = self.clone();
        let helper = move || {
            if let Err(error) = connection.take_turns() {
                tracing::debug!(%error, "connection ended");
            }
        };
        match std::thread::Builder::new().name("pillion-call".to_owned()).spawn(helper) {
            Ok(helper) => turns.helpers.push(helper),
            // This thread goes on reading when it has answered.
            Err(error) => tracing::warn!(%error, "no thread for further calls of a connection; they wait"),
        }
    }

    /// Lets all threads of the connection end, the reading one too. Nobody can use the answers of running calls any
    /// more, unless the connection ends because the server stops.
    fn end(&self) {
        let mut turns = self.turns.lock();
        turns.ended = true;
        let mut waiting = Vec::new();
        for lane in &mut turns.lanes {
            waiting.extend(lane.waiting.drain(..));
            lane.waiting_len = 0;
        }
        drop(turns);
        self.handed_over.notify_all();
        let unanswered = Error::new(ErrorCode::Unavailable, "the connection ended");
        for task in waiting {
            self.session.refuse(task.number, &unanswered);
        }
        if self.shared.stopping.load(Ordering::SeqCst) {
            // Nobody will send the rest of the uploads, and running calls may wait for the tables that these hold.
            self.session.abandon_uploads();
        } else {
            self.session.end();
            drop(self.writer.lock().shut_down());
        }
    }

    fn receive(&self, reader: &mut FrameReader, frame: &mut Frame) -> io::Result<()> {
        let deadline = self.greeted_by.filter(|_| !self.session.is_greeted());
        reader.receive_into(frame, deadline).map_err(io::Error::other)
    }

    /// Answers a lookup into a buffer that is reused for every lookup. Returns whether it did: not if it would have to wait for a source.
    fn look_up(&self, frame: &Frame, found: &mut Vec<u8>) -> io::Result<bool> {
        // One long answer must not keep its memory for ever.
        if found.capacity() > KEPT_LEN {
            *found = Vec::new();
        }
        found.clear();
        let began = self.shared.recording.begin();
        let get_row = || {
            planted::panic_in_answer(&self.shared, frame.call);
            self.session.get_row(&frame.body, found)
        };
        let Some(answered) = brief::briefly(|| panics::catch(get_row, panicked)) else { return Ok(false) };
        self.tell(began, frame, found.len(), code(&answered));
        let sent = match answered {
            Ok(()) if found.len() <= FRAME_BODY_MAX => self.writer.lock().send(frame.head(), found),
            Ok(()) => self.send(frame, Answer { body: std::mem::take(found), ..Answer::default() }),
            Err(error) => self.send(frame, Answer::error(&error)),
        };
        sent.map(|()| true)
    }

    /// The answer to a query that takes no longer than a lookup, if the call is one.
    fn answer_known(&self, task: &Task) -> Option<Answer> {
        // After a panic another thread works on the call, and reports the next one.
        let answer = || Ok(self.session.answer_known(task.number, &task.frame));
        let answer = panics::catch(answer, panicked).ok().flatten()?;
        self.tell(task.began, &task.frame, answer.body.len(), None);
        Some(answer)
    }

    fn reply(&self, task: &Task) -> io::Result<()> {
        self.reply_with(task, || Some(self.session.answer(task.number, &task.frame))).map(drop)
    }

    /// Answers a call unless it would have to wait for a source. Returns whether it did.
    fn reply_briefly(&self, task: &Task) -> io::Result<bool> {
        self.reply_with(task, || self.session.answer_briefly(task.number, &task.frame))
    }

    fn reply_with(&self, task: &Task, answer: impl FnOnce() -> Option<Answer>) -> io::Result<bool> {
        let answer = || {
            planted::panic_in_answer(&self.shared, task.frame.call);
            Ok(answer())
        };
        let answer = || {
            let answered = panics::catch(answer, panicked);
            answered.unwrap_or_else(|error| Some(self.session.refuse(task.number, &error)))
        };
        // What is logged meanwhile says for which request, at every level of the log.
        let answer = match task.began {
            None => answer(),
            Some(_) => {
                let (connection, request) = (self.number, task.frame.request);
                tracing::error_span!("request", connection, request).in_scope(answer)
            }
        };
        let Some(answer) = answer else { return Ok(false) };
        self.tell(task.began, &task.frame, answer.body.len(), answer.error);
        self.send(&task.frame, answer).map(|()| true)
    }

    /// Tells that a call was answered or refused, if its begin was noted.
    fn tell(&self, began: Option<Instant>, frame: &Frame, answer_len: usize, error: Option<ErrorCode>) {
        let Some(began) = began else { return };
        self.shared.recording.record(&Event::Call {
            door: DOOR_SOCKET,
            operation: calls::operation_of(frame),
            duration: began.elapsed(),
            request_bytes: frame.body.len() as u64,
            answer_bytes: answer_len as u64,
            error,
        });
    }

    /// Refuses a call because too many wait.
    fn refuse(&self, task: &Task) -> io::Result<()> {
        let message = format!(
            "at most {WAITING_MAX} calls of a connection may wait, with {WAITING_LEN} bytes; wait for some of them"
        );
        let error = Error::new(ErrorCode::TooMany, message);
        let answer = self.session.refuse(task.number, &error);
        self.tell(task.began, &task.frame, answer.body.len(), Some(error.code()));
        self.send(&task.frame, answer)
    }

    fn send(&self, frame: &Frame, answer: Answer) -> io::Result<()> {
        let Answer { flags, body, descriptor, .. } = answer;
        if frame.flags.contains(Flags::QUIET) {
            return Ok(());
        }
        let head = |flags| Head { flags, ..frame.head() };
        let mut writer = self.writer.lock();
        if body.len() <= FRAME_BODY_MAX {
            return match descriptor {
                Some(descriptor) => writer.send_with(head(flags), &body, descriptor.as_fd()),
                None => writer.send(head(flags), &body),
            };
        }
        // A long answer is sent in several frames.
        let parts = body.len().div_ceil(FRAME_BODY_MAX);
        for (number, part) in body.chunks(FRAME_BODY_MAX).enumerate() {
            let more = if number + 1 < parts { Flags::MORE.bits() } else { 0 };
            writer.send(head(Flags::from_bits(flags.bits() | more)), part)?;
        }
        Ok(())
    }
}

fn panicked() -> Error {
    Error::internal("the call panicked; others are not affected")
}

/// The index of a call's lane; `None` if the reading thread answers it at once.
fn place_of(frame: &Frame) -> Option<usize> {
    match lane_of(frame) {
        calls::Lane::Quick => None,
        calls::Lane::Slow => Some(SLOW),
        calls::Lane::Upload => Some(UPLOAD),
    }
}
