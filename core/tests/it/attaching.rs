//! Clients of a sidecar that map its files instead of asking.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pillion::{Attach, Cache, ConnectOptions, ErrorCode, Server, ServerOptions, Way};
use tempfile::TempDir;

use crate::support::{assert_ids, define, eventually, files, numbered, refused};

/// A served cache with a table `t`.
struct Served {
    dir: TempDir,
    owner: Option<Cache>,
    server: Option<Server>,
}

impl Served {
    fn start() -> Self {
        let mut served = Self { dir: tempfile::tempdir().unwrap(), owner: None, server: None };
        served.go_on("cache", true);
        define(served.owner.as_ref().unwrap(), "t", 0..10).unwrap();
        served
    }

    /// Serves the directory of this name from now on.
    fn go_on(&mut self, name: &str, attach: bool) {
        let owner = Cache::open(self.path(name)).unwrap();
        self.server = Some(owner.serve(ServerOptions::new(self.socket()).attach(attach)).unwrap());
        self.owner = Some(owner);
    }

    fn stop(&mut self) {
        self.server = None;
        self.owner.take().unwrap().close().unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    fn connect(&self, attach: Attach) -> pillion::Result<Cache> {
        options(attach).connect(self.socket())
    }
}

fn options(attach: Attach) -> ConnectOptions {
    ConnectOptions::new().attach(attach).deadline(Duration::from_secs(20))
}

#[test]
fn who_can_read_the_directory_reads_without_messages_and_sends_writes() {
    let served = Served::start();
    let cache = served.connect(Attach::default()).unwrap();
    assert_eq!((cache.way(), cache.messages_sent()), (Way::Attached, 0));
    let table = cache.table("t").unwrap();
    assert_ids(&table, 0..10);
    assert_eq!(cache.status().unwrap().way, Way::Attached);
    assert_eq!(cache.messages_sent(), 0, "reading sends nothing");
    let mut ids: Vec<i64> = (0..10).collect();
    for id in 10..20 {
        table.append(numbered([id])).unwrap();
        ids.push(id);
        let sent = cache.messages_sent();
        assert_ids(&table, ids.clone());
        assert_eq!(cache.messages_sent(), sent, "what was written is read at once and without a message");
    }
    let sent = cache.messages_sent();
    assert!(sent > 0, "writes are sent");
    table.append(numbered([20])).unwrap();
    ids.push(20);
    assert_eq!(cache.messages_sent(), sent + 1, "a write of a few rows is one message");
    let other = define(&cache, "other", 0..3).unwrap();
    assert_ids(&other, 0..3);
    other.replace(numbered([7])).unwrap();
    assert_ids(&other, [7]);
    cache.drop_table("other").unwrap();
    refused(cache.table("other"), ErrorCode::TableNotFound, &[]);
    cache.sync().unwrap();
    cache.close().unwrap();
    refused(table.append(numbered([99])), ErrorCode::Closed, &["connect again"]);
    assert_ids(&table, ids);
}

#[test]
fn reads_go_on_without_the_sidecar_and_writes_when_it_is_back() {
    let mut served = Served::start();
    let cache =
        options(Attach::Require).deadline(Duration::from_millis(300)).connect(served.socket()).unwrap();
    let table = cache.table("t").unwrap();
    served.stop();
    assert_ids(&table, 0..10);
    assert!(cache.status().unwrap().owner.unwrap().closed);
    refused(table.append(numbered([10])), ErrorCode::Unavailable, &["no sidecar answers"]);
    served.go_on("cache", true);
    table.append(numbered([10])).unwrap();
    assert_ids(&table, 0..=10);
}

#[test]
fn a_sidecar_that_does_not_say_where_its_directory_is_answers() {
    let mut served = Served::start();
    served.stop();
    served.go_on("cache", false);
    refused(served.connect(Attach::Require), ErrorCode::Unsupported, &["attach = true", "attach=never"]);
    let cache = served.connect(Attach::IfPossible).unwrap();
    assert_eq!(cache.way(), Way::Remote);
    assert_ids(&cache.table("t").unwrap(), 0..10);
    assert!(cache.messages_sent() > 0);
}

#[test]
fn the_directory_may_be_mounted_elsewhere_and_must_be_the_same() {
    let served = Served::start();
    Cache::open(served.path("another")).unwrap().close().unwrap();
    std::os::unix::fs::symlink(served.path("cache"), served.path("mounted")).unwrap();
    let at = |dir: &Path, attach| options(attach).dir(dir).connect(served.socket());
    let cache = at(&served.path("mounted"), Attach::Require).unwrap();
    assert_eq!(cache.way(), Way::Attached);
    assert_ids(&cache.table("t").unwrap(), 0..10);
    for wrong in ["another", "nothing"] {
        let dir = served.path(wrong);
        refused(at(&dir, Attach::Require), ErrorCode::NotACache, &[wrong, "`dir=`"]);
        let cache = at(&dir, Attach::IfPossible).unwrap();
        assert_eq!(cache.way(), Way::Remote);
        assert_ids(&cache.table("t").unwrap(), 0..10);
    }
    let url = |query: &str| format!("unix:{}?{query}", served.socket().display());
    let mounted = served.path("mounted");
    let url = url(&format!("attach=require&dir={}&deadline=20", mounted.display()));
    assert_eq!(Cache::from_url(&url).unwrap().way(), Way::Attached);
}

/// In another cache, the numbers of the tables mean other tables.
#[test]
fn a_sidecar_that_comes_back_with_another_cache_is_not_written_to() {
    for (attach, name, was_killed) in [
        (true, "another", false),
        (false, "another", false),
        (true, "another", true),
        (false, "another", true),
        (true, "cache", false),
        (false, "cache", false),
    ] {
        let mut served = Served::start();
        let first = if attach { Attach::Require } else { Attach::Never };
        let clients = [served.connect(first).unwrap(), served.connect(Attach::Never).unwrap()];
        let tables = clients.each_ref().map(|cache| cache.table("t").unwrap());
        served.stop();
        if name == "cache" {
            // A new cache in the same place may have the same inodes.
            std::fs::remove_dir_all(served.path(name)).unwrap();
        }
        if was_killed {
            // The next owner begins another incarnation, as after a crash.
            let living = Cache::open(served.path("living")).unwrap();
            files::copy(&served.path("living"), &served.path(name));
            living.close().unwrap();
        }
        served.go_on(name, attach);
        define(served.owner.as_ref().unwrap(), "stranger", 0..3).unwrap();
        for table in &tables {
            refused(table.replace(numbered([10])), ErrorCode::Closed, &["another cache", "connect again"]);
        }
        if attach && name == "cache" {
            refused(tables[0].get(3), ErrorCode::Closed, &["another cache", "connect again"]);
            refused(clients[0].tables(), ErrorCode::Closed, &["connect again"]);
        }
        refused(clients[1].table("t"), ErrorCode::Closed, &["connect again"]);
        assert_ids(&served.owner.as_ref().unwrap().table("stranger").unwrap(), 0..3);
        assert_ids(&served.connect(Attach::Never).unwrap().table("stranger").unwrap(), 0..3);
    }
}

/// The restored files are those that were mapped, but their pages are not: a reader would miss all later commits.
#[test]
fn a_directory_that_was_restored_in_its_place_is_not_read_as_if_it_were_the_old_one() {
    let mut served = Served::start();
    let attached = served.connect(Attach::Require).unwrap();
    let (table, snapshot) = (attached.table("t").unwrap(), attached.snapshot().unwrap());
    served.stop();
    assert_ids(&table, 0..10);
    std::fs::rename(served.path("cache"), served.path("before")).unwrap();
    // While there is no directory, the mapped files are all there is.
    assert_ids(&table, 0..10);
    files::copy(&served.path("before"), &served.path("cache"));
    served.go_on("cache", true);
    let writer = served.connect(Attach::Never).unwrap();
    writer.table("t").unwrap().append(numbered([10])).unwrap();
    // Nobody writes through this handle; it finds out without a write.
    let told = || table.get(3).is_err_and(|error| error.code() == ErrorCode::Closed);
    eventually(told, || format!("{:?}", table.get(3)));
    refused(table.append(numbered([11])), ErrorCode::Closed, &["another cache", "connect again"]);
    assert!(snapshot.table("t").unwrap().get(3).unwrap().is_some());
    assert_ids(&served.connect(Attach::Require).unwrap().table("t").unwrap(), 0..=10);
}

/// Loads of one table wait for each other, and hold up nothing else on their connection.
#[test]
fn many_loads_at_once_over_one_connection() {
    let served = Served::start();
    let cache = served.connect(Attach::Never).unwrap();
    let table = cache.table("t").unwrap();
    std::thread::scope(|scope| {
        for id in 100..140 {
            let table = table.clone();
            scope.spawn(move || table.append(numbered([id])).unwrap());
        }
        for _ in 0..100 {
            assert!(table.get(7).unwrap().is_some());
        }
    });
    assert_ids(&table, (0..10).chain(100..140));
}
