//! Panics that tests plant in the threads of a server. Outside tests there are none.

use arrow::array::RecordBatch;

use super::state::ServerState;

/// Where a thread can be made to panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PanicPlace {
    /// Where connections are accepted.
    Accept,
    /// Where an accepted connection is begun.
    Begin,
    /// Where a client is told that it is not let in.
    Refusal,
    /// Where a request was read and no thread answers it yet.
    Request,
    /// Where some requests are answered.
    #[cfg(test)]
    Answer,
}

/// Panics if a test planted that in the server; never outside tests.
#[cfg(not(test))]
#[inline]
pub(super) const fn panic_at(_shared: &ServerState, _place: PanicPlace) {}

/// Panics if the socket is named after the place.
#[cfg(test)]
pub(super) fn panic_at(shared: &ServerState, place: PanicPlace) {
    let is_planted = shared.options.socket.file_name().is_some_and(|name| *name == *format!("{place:?}"));
    assert!(!is_planted, "planted: {place:?}");
}

/// Panics in an answer if a test planted that in the server, for the calls that it names; never outside tests.
#[cfg(not(test))]
#[inline]
pub(super) const fn panic_in_answer(_shared: &ServerState, _call: u16) {}

/// Panics in the answer to one of three calls, if the socket is named after this place.
#[cfg(test)]
pub(super) fn panic_in_answer(shared: &ServerState, call: u16) {
    use crate::wire::message::Call;
    if [Call::SourcePosition, Call::GetRow, Call::Sync].iter().any(|&panics| panics as u16 == call) {
        panic_at(shared, PanicPlace::Answer);
    }
}

/// Panics over rows of an upload if a test planted that in them; never outside tests.
#[cfg(not(test))]
#[inline]
pub(super) const fn panic_over(_rows: &RecordBatch) {}

/// Panics over rows with a column named `panic`.
#[cfg(test)]
pub(super) fn panic_over(rows: &RecordBatch) {
    assert!(rows.column_by_name("panic").is_none(), "planted: rows");
}
