//! A server in a process of its own, whose descriptors and threads can be counted and which can be killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pillion::{Cache, ServerOptions};
use rustix::process::Signal;
use tempfile::TempDir;

use super::child::{self, Process};
pub(crate) use super::{PATIENCE, eventually};
use super::{define, files};

/// Rows of the table `t`.
pub(crate) const ROWS: i64 = 3_000;

/// Settings of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Bytes of shared memory of a connection, and of all connections.
    pub(crate) memory: (usize, usize),
    /// Milliseconds in which a client must say hello, finish a frame, and read an answer.
    pub(crate) timeout_ms: u64,
    pub(crate) connections_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { memory: (4 << 20, 64 << 20), timeout_ms: 60_000, connections_max: 64 }
    }
}

/// The program of the process.
#[test]
#[ignore = "the program of a child process"]
fn serves() {
    let dir = child::directory();
    let settings = fs::read_to_string(dir.join("settings")).unwrap();
    let settings: Vec<usize> = settings.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let cache = Cache::open(dir.join("cache")).unwrap();
    define(&cache, "t", 0..ROWS).unwrap();
    let options = ServerOptions::new(dir.join("sock"))
        .shared_memory_per_connection(settings[0])
        .shared_memory(settings[1])
        .shared_memory_per_user(settings[1])
        .handshake_timeout(Duration::from_millis(settings[2] as u64))
        .connections_max(settings[3])
        .connections_per_user(settings[3]);
    let server = cache.serve(options).unwrap();
    child::say("ready");
    for question in child::questions() {
        match question.as_str() {
            "connections" => child::say(server.connections()),
            "end" => break,
            other => panic!("{other}?"),
        }
    }
    server.stop();
    cache.close().unwrap();
}

/// A server of the cache in a directory.
pub(crate) struct Serving {
    process: Process,
    dir: PathBuf,
}

impl Serving {
    /// Starts it, and waits until it serves.
    pub(crate) fn start(dir: &Path, settings: Settings) -> Self {
        let Settings { memory: (one, all), timeout_ms, connections_max } = settings;
        files::write(&dir.join("settings"), format!("{one} {all} {timeout_ms} {connections_max}").as_bytes());
        let mut process = Process::start("support::serving::serves", dir);
        assert_eq!(process.next().as_deref(), Some("ready"));
        Self { process, dir: dir.to_owned() }
    }

    /// Starts a server in a directory that is removed after the test.
    pub(crate) fn temporary(settings: Settings) -> (TempDir, Self) {
        let dir = tempfile::tempdir().unwrap();
        let serving = Self::start(dir.path(), settings);
        (dir, serving)
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    /// The directory of the cache.
    pub(crate) fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }

    /// Connections, as the server counts them.
    pub(crate) fn connections(&mut self) -> usize {
        self.process.ask("connections").parse().unwrap()
    }

    /// The files, sockets and memory that its descriptors refer to.
    pub(crate) fn descriptors(&self) -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap();
        let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        // The number of a socket tells nothing.
        let mut names: Vec<String> = targets
            .map(|target| target.display().to_string())
            .map(|name| name.split(":[").next().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// How many connections it has shared memory for.
    pub(crate) fn arenas(&self) -> usize {
        self.descriptors().iter().filter(|name| name.contains("pillion-arena")).count()
    }

    /// Whether it maps a file.
    pub(crate) fn maps(&self, path: &Path) -> bool {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.process.id())).unwrap();
        maps.contains(path.to_str().unwrap())
    }

    /// Threads that answer calls or load what a client sends.
    pub(crate) fn threads(&self) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        // The kernel keeps 15 characters of a name.
        let is_of_client = |name: &String| {
            ["pillion-connect", "pillion-call", "pillion-upload", "pillion-refusal"].contains(&name.trim())
        };
        names.filter(is_of_client).count()
    }

    /// Waits until it has this many connections and these descriptors.
    #[track_caller]
    pub(crate) fn settles(&mut self, connections: usize, descriptors: &[String]) {
        self.reaches(connections);
        let is_same = || self.descriptors() == descriptors;
        eventually(is_same, || format!("{:?}\ninstead of\n{descriptors:?}", self.descriptors()));
    }

    /// Waits until it has this many connections.
    #[track_caller]
    pub(crate) fn reaches(&mut self, connections: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.connections() != connections {
            assert!(Instant::now() < deadline, "{} connections and not {connections}", self.connections());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Stops it, and waits until none of its threads runs.
    pub(crate) fn stop(&self) {
        self.process.stop();
    }

    /// Kills it with no chance to clean up.
    pub(crate) fn kill(self) {
        self.process.kill();
    }

    /// Lets it end, and fails unless it succeeds.
    pub(crate) fn finish(self) {
        self.process.finish();
    }
}
