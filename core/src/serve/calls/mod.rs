//! The calls of the protocol: how each is worked on, and what answers it. A file for each family.

mod catalog;
mod commits;
mod greeting;
mod lookups;
mod queries;
mod refreshes;
mod uploads;

use std::cell::OnceCell;
use std::os::fd::OwnedFd;

use pillion_ipc::Frame;

use super::session::Session;
use crate::types::error::Result;
use crate::types::recorder::Operation;
use crate::wire::Call;

/// Up to this many bytes of keys, some hundreds of keys, are looked up at once: that takes about as long as waking
/// another thread.
const QUICK_KEYS_LEN: usize = 4 << 10;

/// Which thread works on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// The thread that read it, at once: the call is over before another thread would be awake.
    Quick,
    /// By a thread of its own.
    Slow,
    /// As [`Slow`](Self::Slow), but with threads that only uploads use: these make progress whatever else is asked.
    Upload,
}

/// A request that was begun.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    /// The session's number for it.
    task: u64,
    body: &'a [u8],
    /// A descriptor that goes with the answer.
    descriptor: &'a OnceCell<OwnedFd>,
}

impl<'a> Request<'a> {
    pub(super) fn new(task: u64, body: &'a [u8], descriptor: &'a OnceCell<OwnedFd>) -> Self {
        Self { task, body, descriptor }
    }
}

/// Answers a call; bytes in, bytes out.
type Handler = fn(&Session, Request<'_>) -> Result<Vec<u8>>;

/// The lane and the handler of a call whose request has `body_len` bytes.
fn entry(call: Call, body_len: usize) -> (Lane, Handler) {
    use Call as C;
    match call {
        C::Hello => (Lane::Quick, Session::answer_hello),
        C::Share => (Lane::Quick, Session::answer_share),
        C::Return => (Lane::Quick, Session::answer_return),
        C::Cancel => (Lane::Quick, Session::answer_cancel),
        C::Version => (Lane::Quick, Session::answer_version),
        C::Tables => (Lane::Quick, Session::answer_tables),
        C::TableByName => (Lane::Quick, Session::answer_table_by_name),
        C::TableById => (Lane::Quick, Session::answer_table_by_id),
        C::Status => (Lane::Quick, Session::answer_status),
        C::SourcePosition => (Lane::Quick, Session::answer_source_position),
        C::Get => (Lane::Quick, Session::answer_get),
        C::GetMany => {
            (if body_len <= QUICK_KEYS_LEN { Lane::Quick } else { Lane::Slow }, Session::answer_get_many)
        }
        C::GetRow => (Lane::Quick, Session::answer_get_row),
        C::Snapshot => (Lane::Quick, Session::answer_snapshot),
        C::Release => (Lane::Quick, Session::answer_release),
        C::Scan => (Lane::Slow, Session::answer_scan),
        C::Changes => (Lane::Slow, Session::answer_changes),
        C::Sql => (Lane::Slow, Session::answer_sql),
        C::Prepare => (Lane::Slow, Session::answer_prepare),
        C::Execute => (Lane::Slow, Session::answer_execute),
        C::Forget => (Lane::Quick, Session::answer_forget),
        C::Next => (Lane::Slow, Session::answer_next),
        C::Close => (Lane::Quick, Session::answer_close),
        C::Begin => (Lane::Upload, Session::answer_begin),
        C::Write => (Lane::Upload, Session::answer_write),
        C::Finish => (Lane::Upload, Session::answer_finish),
        C::Abandon => (Lane::Upload, Session::answer_abandon),
        C::Commit => (Lane::Slow, Session::answer_commit),
        C::DropTable => (Lane::Slow, Session::answer_drop_table),
        C::Compact => (Lane::Slow, Session::answer_compact),
        C::Sync => (Lane::Slow, Session::answer_sync),
        C::Refresh => (Lane::Slow, Session::answer_refresh),
        C::Refreshes => (Lane::Quick, Session::answer_refreshes),
        C::Modify => (Lane::Slow, Session::answer_modify),
        C::SteerRefreshes => (Lane::Quick, Session::answer_steer_refreshes),
        C::Audit => (Lane::Slow, Session::answer_audit),
        C::WaitFor => (Lane::Slow, Session::answer_wait_for),
    }
}

/// What a request asks for, as metrics name it.
pub(super) fn operation_of(frame: &Frame) -> Operation {
    use Call as C;
    match Call::from_number(frame.call) {
        Some(C::Get | C::GetRow) => Operation::Get,
        Some(C::GetMany) => Operation::GetMany,
        Some(C::Scan) => Operation::Scan,
        Some(C::Sql) => Operation::Sql,
        Some(C::Prepare) => Operation::Prepare,
        Some(C::Execute) => Operation::Execute,
        Some(C::Next) => Operation::Fetch,
        Some(C::Changes) => Operation::Changes,
        Some(C::Commit | C::DropTable | C::Modify) => Operation::Write,
        Some(C::Begin | C::Write | C::Finish | C::Abandon) => Operation::Upload,
        Some(C::Refresh | C::Refreshes | C::SteerRefreshes | C::Audit | C::WaitFor) => Operation::Refresh,
        Some(C::Compact | C::Sync) => Operation::Upkeep,
        Some(C::Version | C::Tables | C::TableByName | C::TableById | C::Status | C::SourcePosition) => {
            Operation::Catalog
        }
        Some(
            C::Hello | C::Share | C::Return | C::Cancel | C::Snapshot | C::Release | C::Forget | C::Close,
        )
        | None => Operation::Session,
    }
}

/// The lane of a request. A call that this version does not know is refused at once.
pub(super) fn lane_of(frame: &Frame) -> Lane {
    Call::from_number(frame.call).map_or(Lane::Quick, |call| entry(call, frame.body.len()).0)
}

/// The function that answers a call.
pub(super) fn handler(call: Call) -> Handler {
    entry(call, 0).1
}
