//! Child processes: this test binary again, running one ignored test that is the child's program.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Names the cache directory for the child.
const DIRECTORY: &str = "PILLION_TEST_CHILD_DIRECTORY";
/// Begins every line that a child says to its parent, as the test runner writes lines of its own.
const MARK: &str = "@child ";

/// A child process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts the ignored test `program` over a directory.
    pub(crate) fn start(program: &str, dir: &Path) -> Self {
        Self::start_by(Command::new(Self::executable()), program, dir)
    }

    /// The program that a command must run to start a child.
    pub(crate) fn executable() -> PathBuf {
        std::env::current_exe().unwrap()
    }

    /// As [`start`](Self::start), through a command that ends with the [`executable`](Self::executable).
    pub(crate) fn start_by(mut command: Command, program: &str, dir: &Path) -> Self {
        let mut child = command
            .args([program, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it says next; `None` when it has ended.
    pub(crate) fn next(&mut self) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| {
            // The test runner's own line is only finished when the test is.
            line.split_once(MARK).map(|(_, said)| said.to_owned())
        })
    }

    /// Asks it something, and waits for its answer.
    #[cfg(all(feature = "sidecar", feature = "sql", target_os = "linux"))]
    pub(crate) fn ask(&mut self, what: &str) -> String {
        use std::io::Write;
        let questions = self.child.stdin.as_mut().unwrap();
        questions.write_all(format!("{what}\n").as_bytes()).unwrap();
        self.next().expect("the child ended instead of answering")
    }

    /// Kills it with no chance to clean up, as the kernel does; returns what it had said and nobody had read.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let said = std::iter::from_fn(|| self.next()).collect();
        self.child.wait().unwrap();
        said
    }

    /// Lets it end.
    #[cfg(target_os = "linux")]
    pub(crate) fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Sends it a signal.
    #[cfg(target_os = "linux")]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_raw(self.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(process, signal).unwrap();
    }

    /// Stops it, and waits until none of its threads runs, which may take a while on a busy machine.
    #[cfg(target_os = "linux")]
    pub(crate) fn stop(&self) {
        use std::fs;
        self.signal(rustix::process::Signal::STOP);
        let is_stopped = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
        };
        let tasks = || fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        super::eventually(|| tasks().all(|task| is_stopped(task.unwrap())), || "it does not stop".to_owned());
    }

    /// Waits until it ends, by itself or killed by someone else, and returns how.
    #[cfg(target_os = "linux")]
    pub(crate) fn ended(mut self) -> std::process::ExitStatus {
        while self.next().is_some() {}
        self.child.wait().unwrap()
    }

    /// Lets it end, and fails unless it succeeds.
    pub(crate) fn finish(mut self) {
        drop(self.child.stdin.take());
        while self.next().is_some() {}
        assert!(self.child.wait().unwrap().success(), "the child failed");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, or this ends it; both are fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a child: the directory that the parent named.
pub(crate) fn directory() -> PathBuf {
    std::env::var_os(DIRECTORY).expect("the program of a child process; another test runs it").into()
}

/// In a child: says a line to the parent.
pub(crate) fn say(what: impl std::fmt::Display) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    // If the parent is gone, nobody hears this; the child then ends by itself.
    let _ = writeln!(out, "{MARK}{what}").and_then(|()| out.flush());
}

/// In a child: the questions of the parent, one after another.
#[cfg(all(feature = "sidecar", feature = "sql", target_os = "linux"))]
pub(crate) fn questions() -> impl Iterator<Item = String> {
    std::io::stdin().lines().map_while(Result::ok)
}

/// In a child: waits until the parent lets it end, or is gone.
pub(crate) fn wait() {
    let _ = std::io::stdin().lock().read_line(&mut String::new());
}
