//! Other processes of a bench: the same program again, in another role.
//!
//! Calls that cross a process boundary are measured across one. The environment names the role, so every program that
//! calls [`play`] first can start all roles.

mod echo;
mod filler;
mod placed;
mod reader;
mod sidecar;
mod sizes;

pub use echo::{Echo, RoundTrip};
pub use filler::{FILL_COMMITS, FILL_ROWS, fill_and_kill};
pub use placed::{Placed, Placement};
pub use reader::{Reader, ReaderKind, Seen};
pub use sidecar::Sidecar;
pub use sizes::Sizes;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// Names the role of a process.
const ROLE: &str = "PILLION_BENCH_ROLE";
/// Names the socket that it listens on.
const SOCKET: &str = "PILLION_BENCH_SOCKET";
/// Names the directory that it serves, reads or writes.
const DIRECTORY: &str = "PILLION_BENCH_DIRECTORY";
/// Holds the number of rows that keys are taken from.
const ROWS: &str = "PILLION_BENCH_ROWS";
/// Ends the line that says that a process listens; test runners begin lines without ending them.
const READY: &str = "@listening";
/// How long a process that was told to end may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Plays the role of this process, until the process that started it no longer needs it; returns `false` if this
/// process has no role. Every program with benches calls it first.
///
/// # Errors
/// Whatever prevents the role.
pub fn play() -> Result<bool> {
    let Some(role) = std::env::var_os(ROLE) else { return Ok(false) };
    let path = |name: &str| {
        std::env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("{name} is not set").into())
    };
    let socket = || path(SOCKET);
    match role.to_str() {
        Some(sidecar::ROLE) => path(DIRECTORY).and_then(|dir| sidecar::play(&dir, &socket()?))?,
        Some(echo::ROLE) => echo::play(&socket()?)?,
        Some(filler::ROLE) => path(DIRECTORY).and_then(|dir| filler::play(&dir))?,
        Some(reader::ROLE) => path(DIRECTORY).and_then(|dir| reader::play(&dir))?,
        _ => return Err(format!("{} is not a role", role.display()).into()),
    }
    Ok(true)
}

/// A process in a role; it ends when this is dropped, or when the process that started it is gone.
#[derive(Debug)]
struct Process {
    child: Child,
}

impl Process {
    /// Starts one and waits until it listens.
    fn start(role: &str, settings: &[(&str, &OsStr)]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        #[cfg(test)]
        command.args(["process::tests::role", "--exact", "--ignored", "--nocapture"]);
        command.env(ROLE, role).envs(settings.iter().copied());
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut process = Self { child };
        let out = process.child.stdout.as_mut().ok_or("the process has no output")?;
        let mut lines = BufReader::new(out).lines().map_while(std::result::Result::ok);
        match lines.any(|line| line.ends_with(READY)) {
            true => Ok(process),
            false => Err(format!("the {role} ended before it listened").into()),
        }
    }

    /// Its number.
    fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in order.
    fn end(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("a process of the bench failed: {status}").into()),
                None if Instant::now() > deadline => return Err("a process of the bench does not end".into()),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.end().is_err() {
            // Either fails only if it has ended already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// In a role: reports that the process is ready.
fn say_ready() -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{READY}")?;
    Ok(out.flush()?)
}

/// In a role: reports that the process listens, and returns when it should end.
fn serve_until_told() -> Result<()> {
    say_ready()?;
    // The other end writes nothing; it closes when its process ends, for whatever reason.
    stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Keys, Points};
    use crate::harness::{Collect, Contestant, Forget};
    use crate::workload::{Get, Stored};

    /// The program of the processes that other tests start.
    #[test]
    #[ignore = "plays a role when another test starts it"]
    fn role() {
        assert!(play().unwrap(), "another test starts this one");
    }

    #[test]
    fn a_process_without_a_role_plays_none() {
        assert!(!play().unwrap());
    }

    #[test]
    fn a_sidecar_serves_what_was_stored_and_ends_in_order() {
        let points = Points::new(1_000);
        let stored = Stored::create().unwrap();
        stored.load_points(points.batches().unwrap()).unwrap();
        let dir = stored.close().unwrap();
        let sidecar = Sidecar::start(dir.path()).unwrap();
        let answers = [sidecar.attached().unwrap(), sidecar.remote().unwrap()].map(|cache| {
            let mut sink = Collect::default();
            let mut get = Get::new(cache.table(Points::NAME).unwrap(), Keys::new(points));
            get.call(7, &mut sink).unwrap();
            sink.into_rows()
        });
        assert_eq!(answers[0], answers[1]);
        // It owns the directory.
        assert!(pillion::Cache::open(dir.path()).is_err());
        sidecar.stop().unwrap();
        pillion::Cache::open(dir.path()).unwrap().close().unwrap();
    }

    #[test]
    fn a_sidecar_that_cannot_serve_says_so() {
        let stored = Stored::create().unwrap();
        let message = Sidecar::start(stored.dir()).unwrap_err().to_string();
        assert_eq!(message, "the sidecar ended before it listened");
    }

    #[test]
    fn bytes_of_a_call_are_counted_and_sent_again() {
        let points = Points::new(1_000);
        let stored = Stored::create().unwrap();
        stored.load_points(points.batches().unwrap()).unwrap();
        let dir = stored.close().unwrap();
        let sidecar = Sidecar::start(dir.path()).unwrap();
        let get = |cache: &pillion::Cache| Ok(Get::new(cache.table(Points::NAME)?, Keys::new(points)));
        let sizes = Sizes::of(&sidecar, get).unwrap();
        // A header of 16 bytes, and a row of 5 columns in the answer.
        assert!(sizes.request > 16 && sizes.reply > 64, "{sizes:?}");
        assert!(sizes.request < 1000 && sizes.reply < 2000, "{sizes:?}");
        let echo = Echo::start().unwrap();
        let mut round_trip = RoundTrip::new(&echo, sizes).unwrap();
        (0..10).for_each(|call| round_trip.call(call, &mut Forget).unwrap());
    }
}
