//! Writes of which the kernel does a part and refuses the rest: a limit on the length of files lies within them.

use std::fs;
use std::path::Path;
use std::process::Command;

use pillion::{Cache, CacheOptions, Durability, Error, ErrorCode};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::support::child::{self, Process};
use crate::support::{assert_ids, define, files, numbered};

/// Rows before the first write that is short.
const ROWS: i64 = 100;
/// This many more rows are too many for the log, and become a segment.
const MANY: i64 = 60_000;
/// Bytes of a record that fit below the limit: its header and a part of its body.
const PART: u64 = 100;
/// Bytes of a segment that fit below the limit. Writes do not begin or end there.
const PART_OF_SEGMENT: u64 = 123_457;

/// Starts the child. It ignores the signal of the limit, so that the write fails.
fn start(program: &str, dir: &Path) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(Process::executable());
    Process::start_by(command, program, dir)
}

/// In the child: runs `write` while no file can be written at or beyond offset `len`.
fn limited<T>(len: u64, write: impl FnOnce() -> T) -> T {
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, rustix::process::Rlimit { current: Some(len), ..before }).unwrap();
    let result = write();
    setrlimit(Resource::Fsize, before).unwrap();
    result
}

/// Bytes of a log file up to the last that is not zero.
fn written(log: &Path) -> u64 {
    let bytes = fs::read(log).unwrap();
    bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1)
}

/// Fails unless an error says what happened, down to its cause.
#[track_caller]
fn assert_too_large<T>(result: Result<T, Error>, code: ErrorCode, file: &str) {
    let error = result.map(drop).expect_err("the write is short");
    assert_eq!(error.code(), code, "{error:?}");
    let text = format!("{error:#}");
    assert!(text.contains("File too large"), "{text}");
    assert!(text.contains(file), "{text} names the file");
}

fn open(dir: &Path) -> Cache {
    CacheOptions::new().durability(Durability::Always).open(dir).unwrap()
}

#[test]
#[ignore = "the program of a child process"]
fn writes_half_a_record() {
    let dir = child::directory();
    let cache = open(&dir);
    let table = define(&cache, "t", 0..ROWS).unwrap();
    table.append(numbered([ROWS])).unwrap();
    let log = files::logs(&dir).pop().unwrap();
    let before = written(&log);
    // A record has zeros at its end, and begins at a multiple of 64 bytes.
    let limit = before.next_multiple_of(64) + PART;
    let refused = limited(limit, || table.append(numbered(ROWS + 1..ROWS + 50)));
    assert_too_large(refused, ErrorCode::OutcomeUnknown, ".log");
    let after = written(&log);
    assert!(before < after && after <= limit, "{before}, {after}, {limit}: the write was short");
    // Nothing is written after it.
    assert_eq!(table.append(numbered([ROWS + 50])).unwrap_err().code(), ErrorCode::Poisoned);
    assert_eq!(written(&log), after);
    assert_ids(&table, 0..=ROWS);
    child::say("refused");
    child::wait();
}

#[test]
#[ignore = "the program of a child process"]
fn writes_half_a_segment() {
    let dir = child::directory();
    let cache = open(&dir);
    let table = define(&cache, "t", 0..ROWS).unwrap();
    table.append(numbered([ROWS])).unwrap();
    let before = files::segments(&dir);
    let many = || numbered(ROWS + 1..ROWS + MANY);
    let refused = limited(PART_OF_SEGMENT, || table.append(many()));
    assert_too_large(refused, ErrorCode::DiskFull, ".arrow");
    assert_eq!(files::segments(&dir), before);
    files::assert_no_temporary_files(&dir);
    assert_ids(&table, 0..=ROWS);
    // This goes on as if nothing had happened.
    table.append(many()).unwrap();
    table.append(numbered([ROWS + MANY])).unwrap();
    let refused = limited(PART_OF_SEGMENT, || table.replace(many()));
    assert_too_large(refused, ErrorCode::DiskFull, ".arrow");
    child::say("refused");
    child::wait();
}

/// Runs the child until a write was short, with a reader beside it, and checks what it leaves: `rows` and nothing
/// else.
fn run(program: &str, rows: std::ops::Range<i64>) {
    for is_killed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = start(program, dir.path());
        assert_eq!(child.next().as_deref(), Some("refused"));
        let reader = Cache::open_read_only(dir.path()).unwrap();
        assert_ids(&reader.table("t").unwrap(), rows.clone());
        if is_killed {
            child.kill();
        } else {
            child.finish();
        }
        for next in rows.end..rows.end + 2 {
            let cache = open(dir.path());
            assert_eq!(cache.status().unwrap().damage, None);
            let table = cache.table("t").unwrap();
            assert_ids(&table, rows.start..next);
            table.append(numbered([next])).unwrap();
            cache.compact().unwrap();
            assert_ids(&reader.table("t").unwrap(), rows.start..=next);
            cache.close().unwrap();
        }
        files::assert_no_temporary_files(dir.path());
    }
}

#[test]
fn a_record_of_which_half_is_written_takes_nothing_with_it() {
    run("faults::short_writes::writes_half_a_record", 0..ROWS + 1);
}

#[test]
fn a_segment_of_which_half_is_written_takes_nothing_with_it() {
    run("faults::short_writes::writes_half_a_segment", 0..ROWS + MANY + 1);
}
