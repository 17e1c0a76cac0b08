//! An owner whose calls of the kernel fail, or are the last that it makes: strace injects both.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use pillion::{Cache, CacheOptions, Durability, Error, ErrorCode};

use super::history::{self, Model};
use super::readers::Reader;
use crate::support::child::{self, Process};
use crate::support::files;
use crate::support::random::Random;
use crate::support::report::{self, not_run};

/// Default number of faults to try, one of each kind among them. The environment variable `PILLION_SYSCALL_FAULTS`
/// sets another, or `all`.
const FAULTS: usize = 40;
/// Seed of the history.
const SEED: u64 = 61;
/// Transactions before the owner that meets the faults.
const BEFORE: u64 = 12;
/// Transactions that this owner makes.
const TRANSACTIONS: u64 = 14;
/// How often this owner opens the cache again.
const OPENINGS: usize = 4;
/// Files that this owner opens first.
const CALLS_BEFORE: usize = 100;
/// The environment variable that says that reads may fail too.
const READS_MAY_FAIL: &str = "PILLION_TEST_CHILD_READS_MAY_FAIL";
/// A call with this error is made again, so callers must never see it fail.
const INTERRUPTED: &str = "EINTR";
/// What the owner says before it touches the directory.
const BEGUN: &str = "begun";

/// Groups of calls, and how each may fail. The kernel has several calls for some of the names.
const CALLS: [(&str, &[&str], &[&str]); 8] = [
    ("fdatasync", &["fdatasync"], &["EIO"]),
    ("fsync", &["fsync"], &["EIO"]),
    ("pwrite64", &["pwrite64"], &["EIO", "ENOSPC", INTERRUPTED]),
    ("fallocate", &["fallocate"], &["ENOSPC", "EIO"]),
    ("rename", &["?rename", "?renameat", "?renameat2"], &["EIO", "ENOSPC"]),
    ("unlink", &["?unlink", "?unlinkat"], &["EIO"]),
    ("ftruncate", &["ftruncate"], &["EIO"]),
    ("openat", &["openat"], &["EMFILE", "EACCES"]),
];

/// The calls, their error, and whether later calls fail too.
type Kind = (&'static [&'static str], Option<&'static str>, bool);

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    calls: &'static [&'static str],
    /// The error of the call; with `None` the process is killed at the call.
    error: Option<&'static str>,
    /// Which call, from 1.
    nth: usize,
    /// Whether every later call fails too.
    is_sticky: bool,
}

impl Fault {
    fn to_option(&self) -> String {
        let effect = self.error.map_or_else(|| "signal=SIGKILL".to_owned(), |error| format!("error={error}"));
        let (calls, nth) = (self.calls.join(","), self.nth);
        format!("inject={calls}:{effect}:when={nth}{}", if self.is_sticky { "+" } else { "" })
    }

    /// The fault without its moment: one of each kind is always tried.
    fn kind(&self) -> Kind {
        (self.calls, self.error, self.is_sticky)
    }

    /// Whether a call of the cache may fail with this code.
    fn may_give(&self, code: ErrorCode) -> bool {
        if self.error == Some(INTERRUPTED) {
            return false;
        }
        let follows = [ErrorCode::OutcomeUnknown, ErrorCode::Poisoned, ErrorCode::DirectoryLocked];
        let itself = if self.error == Some("ENOSPC") { ErrorCode::DiskFull } else { ErrorCode::Io };
        code == itself || follows.contains(&code)
    }
}

fn code_of(number: &str) -> ErrorCode {
    ErrorCode::from_number(number.parse().unwrap()).unwrap()
}

/// In the child: reports that a call was refused.
fn say_refused(what: &str, error: &Error) {
    child::say(format!("refused {} {what}: {error:#}", error.code().number()));
}

/// In the child: reads must find exactly what was acknowledged.
fn read(cache: &Cache, model: &mut Model, expected: std::ops::RangeInclusive<u64>) {
    match cache.snapshot().and_then(|snapshot| model.check(&snapshot)) {
        Ok(found) => assert!(expected.contains(&found), "{found} is not in {expected:?}"),
        Err(error) if std::env::var_os(READS_MAY_FAIL).is_some() => say_refused("reading", &error),
        Err(error) => panic!("reads go on, whatever was refused: {error:?}"),
    }
}

/// Makes transactions, whatever fails, and opens the cache again where it must. Reports what was acknowledged and
/// what was refused.
#[test]
#[ignore = "the program of a child process"]
fn writes_whatever_fails() {
    // Strace counts calls by thread. This thread makes more than the linker and the test runner made in theirs, so
    // that the fault hits only this one.
    for _ in 0..CALLS_BEFORE {
        drop(fs::File::open("/dev/null").unwrap());
    }
    child::say(BEGUN);
    let dir = child::directory();
    let mut model = Model::new(SEED);
    let (mut acknowledged, mut attempted) = (BEFORE, BEFORE);
    for _ in 0..OPENINGS {
        let cache = match CacheOptions::new().durability(Durability::Always).open(&dir) {
            Ok(cache) => cache,
            Err(error) => {
                say_refused("opening", &error);
                continue;
            }
        };
        read(&cache, &mut model, acknowledged..=attempted);
        let Ok(first) = history::position(&cache) else { continue };
        acknowledged = first;
        let mut reopen = false;
        for number in first + 1..=BEFORE + TRANSACTIONS {
            attempted = number;
            // What was certainly refused is tried once more.
            for _ in 0..2 {
                let Err(error) = history::commit(&cache, SEED, number) else {
                    acknowledged = number;
                    child::say(format!("acknowledged {number}"));
                    break;
                };
                say_refused("committing", &error);
                reopen |= [ErrorCode::OutcomeUnknown, ErrorCode::Poisoned].contains(&error.code());
                // Until the cache is opened again, nobody sees a transaction that was not acknowledged.
                read(&cache, &mut model, acknowledged..=acknowledged);
            }
            if number % 5 == 0
                && let Err(error) = cache.compact()
            {
                say_refused("compacting", &error);
                reopen |= error.code() == ErrorCode::Poisoned;
            }
            read(&cache, &mut model, acknowledged..=acknowledged);
            if reopen || acknowledged < number {
                break;
            }
        }
        if let Err(error) = cache.close() {
            say_refused("closing", &error);
        }
        read(&cache, &mut model, acknowledged..=acknowledged);
        if acknowledged == BEFORE + TRANSACTIONS {
            break;
        }
    }
    child::say("end");
}

/// The outcome of a run under strace.
#[derive(Debug, Default)]
struct Outcome {
    /// Whether the fault happened.
    was_hit: bool,
    was_killed: bool,
    refusals: BTreeMap<u16, usize>,
}

fn strace(trace: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-o"]).arg(trace);
    for option in options {
        command.args(["-e", option]);
    }
    command.arg(Process::executable());
    command
}

/// A directory that its owner left without closing it; it has rows in segments and in the log.
fn left_behind() -> tempfile::TempDir {
    let (dir, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cache = Cache::open(dir.path()).unwrap();
    history::begin(&cache).unwrap();
    for number in 1..=BEFORE {
        history::commit(&cache, SEED, number).unwrap();
        if number == BEFORE / 2 {
            cache.compact().unwrap();
        }
    }
    cache.sync().unwrap();
    files::copy(dir.path(), left.path());
    left
}

/// Runs the owner with a fault over a copy of a directory, reads beside it, and checks what it left.
fn run(template: &Path, fault: &Fault) -> Outcome {
    let (dir, traces) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    files::copy(template, dir.path());
    let trace = traces.path().join("trace");
    let calls = format!("trace={}", fault.calls.join(","));
    let mut command = strace(&trace, &[&calls, &fault.to_option()]);
    if fault.calls == ["openat"] {
        command.env(READS_MAY_FAIL, "1");
    }
    let mut reader = Reader::open(dir.path(), SEED);
    let mut child = Process::start_by(command, "faults::syscalls::writes_whatever_fails", dir.path());
    let mut outcome = Outcome::default();
    let (mut least, mut has_begun, mut has_ended) = (BEFORE, false, false);
    while let Some(said) = child.next() {
        let mut words = said.split(' ');
        match (words.next().unwrap(), words.next()) {
            (BEGUN, None) => has_begun = true,
            ("end", None) => has_ended = true,
            ("acknowledged", Some(number)) => least = number.parse().unwrap(),
            ("refused", Some(number)) => {
                let code = code_of(number);
                assert!(fault.may_give(code), "{fault:?}: {said}");
                *outcome.refusals.entry(code.number()).or_default() += 1;
            }
            _ => panic!("{said}?"),
        }
        let found = reader.read();
        assert!(found >= least, "{fault:?}: {least} was acknowledged and {found} is seen");
    }
    let status = child.ended();
    let trace = fs::read_to_string(&trace).unwrap();
    outcome.was_killed = trace.contains("+++ killed by SIGKILL +++");
    outcome.was_hit = has_begun && (outcome.was_killed || trace.contains("(INJECTED)"));
    // If it has not begun yet, the fault hit the linker or the test runner.
    let is_well = status.success() && has_ended || outcome.was_killed || !has_begun;
    assert!(is_well, "{fault:?}: {status:?}, signal {:?}", status.signal());
    assert!(fault.error.is_none() || !outcome.was_killed, "{fault:?}");
    let is_harmless = fault.error == Some(INTERRUPTED) && has_begun;
    assert!(!is_harmless || least == BEFORE + TRANSACTIONS, "{fault:?}: {least} was acknowledged");

    // Reads go on, and the next owner finds everything.
    let seen = reader.read();
    assert!(seen >= least, "{fault:?}: {least} was acknowledged and {seen} is seen");
    let cache = Cache::open(dir.path()).unwrap();
    let found = Model::new(SEED).check(&cache.snapshot().unwrap()).unwrap();
    assert!(seen <= found && found <= seen + 1, "{fault:?}: {found} after {seen}");
    assert_eq!(cache.status().unwrap().damage, None, "{fault:?}");
    history::commit(&cache, SEED, found + 1).unwrap();
    cache.compact().unwrap();
    assert_eq!(Model::new(SEED).check(&cache.snapshot().unwrap()).unwrap(), found + 1);
    assert_eq!(reader.read(), found + 1, "{fault:?}");
    assert_eq!(reader.went_back, 0, "{fault:?}");
    cache.close().unwrap();
    files::assert_no_temporary_files(dir.path());
    outcome
}

/// Every possible fault: the calls that the owner makes when nothing fails.
fn all_faults(template: &Path) -> Option<Vec<Fault>> {
    let (dir, traces) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    files::copy(template, dir.path());
    let trace = traces.path().join("trace");
    let names: Vec<&str> = CALLS.iter().flat_map(|(_, calls, _)| calls.iter().copied()).collect();
    let option = format!("trace=write,{}", names.join(","));
    let child =
        Process::start_by(strace(&trace, &[&option]), "faults::syscalls::writes_whatever_fails", dir.path());
    assert!(child.ended().success());
    let trace = fs::read_to_string(&trace).ok()?;
    // Strace counts the calls of each thread, and one thread of the owner does all the work.
    let begun = trace.lines().position(|line| line.contains(BEGUN) && line.contains("write("))?;
    let thread = trace.lines().nth(begun)?.split_whitespace().next()?;
    let of_thread: Vec<(usize, &str)> = trace
        .lines()
        .enumerate()
        .filter_map(|(number, line)| Some((number, line.strip_prefix(thread)?.trim_start())))
        .collect();
    let mut faults = Vec::new();
    for (_, calls, errors) in CALLS {
        for call in calls {
            let name = format!("{}(", call.trim_start_matches('?'));
            let made = of_thread.iter().filter(|(_, line)| line.starts_with(&name));
            for (nth, _) in made.enumerate().filter(|(_, (number, _))| *number > begun) {
                let errors = errors.iter().copied().map(Some);
                // A call that is always interrupted would be made again for ever.
                let effects = errors
                    .flat_map(|error| [(error, false), (error, true)])
                    .filter(|effect| *effect != (Some(INTERRUPTED), true))
                    .chain([(None, false)]);
                for (error, is_sticky) in effects {
                    faults.push(Fault { calls, error, nth: nth + 1, is_sticky });
                }
            }
        }
    }
    Some(faults)
}

/// Chooses one fault of each kind, and others until there are `wanted`, in random order. Also returns how many kinds
/// there are.
fn choose(mut faults: Vec<Fault>, wanted: usize, random: &mut Random) -> (usize, Vec<Fault>) {
    for position in (1..faults.len()).rev() {
        faults.swap(position, usize::try_from(random.below(position as u64 + 1)).unwrap());
    }
    let mut kinds = BTreeSet::new();
    let (mut chosen, others): (Vec<_>, Vec<_>) =
        faults.into_iter().partition(|fault| kinds.insert(fault.kind()));
    chosen.extend(others.into_iter().take(wanted.saturating_sub(kinds.len())));
    (kinds.len(), chosen)
}

/// Whatever call fails, once or from then on, and at whatever call the owner dies: what was acknowledged is there,
/// errors say what is wrong, reads go on, and so does the next owner.
#[test]
fn a_call_that_fails_loses_nothing_that_was_acknowledged() {
    let can_trace = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    if !can_trace.is_ok_and(|output| output.status.success()) {
        return not_run("needs strace, and to be let trace a process");
    }
    let template = left_behind();
    let faults = all_faults(template.path()).expect("strace writes what it sees");
    let all = faults.len();
    let wanted = match std::env::var("PILLION_SYSCALL_FAULTS").as_deref() {
        Ok("all") => all,
        Ok(number) => number.parse().unwrap(),
        Err(_) => FAULTS,
    };
    let (kinds, faults) = choose(faults, wanted, &mut Random::fresh());
    let (mut hits, mut kills, mut refusals) = (0, 0, BTreeMap::<u16, usize>::new());
    for (number, fault) in faults.iter().enumerate() {
        if number > 0 && number % 100 == 0 {
            println!("{number} of {}: {hits} hit", faults.len());
        }
        let outcome = run(template.path(), fault);
        hits += usize::from(outcome.was_hit);
        kills += usize::from(outcome.was_killed);
        for (code, count) in outcome.refusals {
            *refusals.entry(code).or_default() += count;
        }
    }
    report::add(format_args!(
        "calls that fail: {} of {all} faults of {kinds} kinds, {hits} hit, {kills} of them by a kill; refusals by code: \
         {refusals:?}",
        faults.len()
    ));
    // Strace counts the calls of every thread from its start. If another thread makes as many, or the program loader
    // did, the fault hits there.
    assert!(hits * 3 >= faults.len() * 2, "{hits} of {} faults happened", faults.len());
}
