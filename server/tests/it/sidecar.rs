//! A sidecar as its users run it: the real binary with a configuration, ended by signals.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::Dir;

/// A sidecar that takes longer for anything counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running sidecar; killed when dropped.
pub(crate) struct Sidecar {
    child: Child,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

/// Its output so far.
#[derive(Default)]
struct Log {
    text: Mutex<(String, bool)>,
    changed: Condvar,
}

impl Sidecar {
    /// Starts it with a configuration, which is written beside the cache.
    pub(crate) fn start(dir: &Dir, config: &str) -> Self {
        Self::start_named(dir, "pillion.toml", config)
    }

    /// Starts it with a configuration in a file of this name.
    pub(crate) fn start_named(dir: &Dir, name: &str, config: &str) -> Self {
        let path = dir.write(name, config);
        Self::spawn(&mut dir.command(&["serve", "--config", path.to_str().unwrap()]))
    }

    /// Starts it by a prepared command.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self::spawn_with(command, Stdio::null())
    }

    /// Starts it by a prepared command, with something for its standard input.
    pub(crate) fn spawn_with(command: &mut Command, input: Stdio) -> Self {
        let mut child = command.stdin(input).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let reader = {
            let log = log.clone();
            let read = move || {
                for line in lines.map_while(Result::ok) {
                    let mut text = log.text.lock().unwrap();
                    text.0.push_str(&line);
                    text.0.push('\n');
                    log.changed.notify_all();
                }
                log.text.lock().unwrap().1 = true;
                log.changed.notify_all();
            };
            std::thread::Builder::new().name("log".into()).spawn(read).unwrap()
        };
        Self { child, log, reader: Some(reader) }
    }

    /// Starts it and waits until it serves.
    pub(crate) fn ready(dir: &Dir, config: &str) -> Self {
        let sidecar = Self::start(dir, config);
        sidecar.says(" ready ");
        sidecar
    }

    /// Waits until it has printed a text.
    #[track_caller]
    pub(crate) fn says(&self, what: &str) {
        let text = self.log.text.lock().unwrap();
        let waits = |(text, ended): &mut (String, bool)| !text.contains(what) && !*ended;
        let (text, _) = self.log.changed.wait_timeout_while(text, PATIENCE, waits).unwrap();
        assert!(text.0.contains(what), "`{what}` was not said: {}", text.0);
    }

    /// All of its output so far.
    pub(crate) fn log(&self) -> String {
        self.log.text.lock().unwrap().0.clone()
    }

    /// A line of the limits of its process.
    pub(crate) fn limit(&self, name: &str) -> String {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap();
        limits.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
    }

    /// Processor time that it has taken, in ticks of the kernel.
    pub(crate) fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(process, signal).unwrap();
    }

    /// Waits for its end, and returns its status and all of its output.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        (status, self.log())
    }

    /// Asks it to end and checks that it ended well.
    #[track_caller]
    pub(crate) fn end(self) -> String {
        self.signal(Signal::TERM);
        let (status, log) = self.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains(" closed"), "{log}");
        log
    }

    /// Asks it to end, checks only its exit code, and returns its output.
    #[track_caller]
    pub(crate) fn end_quietly(self) -> String {
        self.signal(Signal::TERM);
        let (status, log) = self.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    /// Kills it with no chance to tidy up.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.wait();
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // It has ended already, or this ends it; both are fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The socket of [`config`].
pub(crate) fn socket(dir: &Dir) -> PathBuf {
    dir.path("run/pillion.sock")
}

/// Its URL.
pub(crate) fn url(dir: &Dir) -> String {
    format!("unix:{}?attach=never", socket(dir).display())
}

/// A configuration of the cache of a directory and its socket, with more lines below the first two.
pub(crate) fn config(more: &str) -> String {
    format!("dir = \"cache\"\nsocket = \"run/pillion.sock\"\n{more}\n")
}
