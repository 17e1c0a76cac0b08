//! Tables of files on disk that are refreshed when these change, and whose unchanged folders are not read again.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pillion::source::{
    Call, Capabilities, Changed, Description, Fetch, Fetched, Relation, Source, TableSource, Watch,
};
use pillion::{Cache, ErrorCode, Result, TableDefinition};
use pillion_object_store::{Location, ObjectStoreSource};

use crate::support::files::write;
use crate::support::local;

/// So long that no test waits for it.
const NEVER: Duration = Duration::from_secs(24 * 3600);

fn on_change(pattern: &str) -> TableDefinition {
    let from = TableSource::new("files", Relation::table(pattern)).on_change(NEVER);
    TableDefinition::from_source(from).primary_key(["id"])
}

fn open(dir: &Path, source: impl Source) -> Cache {
    let cache = Cache::open(dir).unwrap();
    cache.add_source("files", source).unwrap();
    cache
}

#[track_caller]
fn wait_for(cache: &Cache, ids: &[i64]) {
    let patience = Instant::now() + Duration::from_secs(60);
    let table = cache.table("t").unwrap();
    let has = |id: &i64| table.get(*id).unwrap().is_some();
    while !(ids.iter().all(has) && table.info().unwrap().rows == ids.len() as u64) {
        assert!(Instant::now() < patience, "waited for {ids:?}: {:?}", cache.refreshes());
        std::thread::yield_now();
    }
}

#[test]
fn a_table_follows_its_files() {
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(files.path(), "in/a.csv", "id\n1\n");
    let cache = open(dir.path(), local(files.path()));
    cache.define_table("t", on_change("in/**/*.csv")).unwrap();
    wait_for(&cache, &[1]);
    write(files.path(), "in/b.csv", "id\n2\n3\n");
    wait_for(&cache, &[1, 2, 3]);
    write(files.path(), "in/new/c.csv", "id\n4\n");
    wait_for(&cache, &[1, 2, 3, 4]);
    write(files.path(), "in/new/c.csv", "id\n5\n");
    wait_for(&cache, &[1, 2, 3, 5]);
    fs::remove_file(files.path().join("in/b.csv")).unwrap();
    wait_for(&cache, &[1, 5]);
    // As Kubernetes mounts files: a link is set to another folder.
    for (version, id) in [("v1", 7), ("v2", 8)] {
        write(files.path(), &format!("{version}/a.csv"), format!("id\n{id}\n"));
    }
    symlink(files.path().join("v1"), files.path().join("next")).unwrap();
    fs::rename(files.path().join("in"), files.path().join("old")).unwrap();
    fs::rename(files.path().join("next"), files.path().join("in")).unwrap();
    wait_for(&cache, &[7]);
    symlink(files.path().join("v2"), files.path().join("next")).unwrap();
    fs::rename(files.path().join("next"), files.path().join("in")).unwrap();
    wait_for(&cache, &[8]);
    write(files.path(), "v2/b.csv", "id\n9\n");
    wait_for(&cache, &[8, 9]);
}

#[test]
fn one_file_is_followed_too() {
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(files.path(), "a.csv", "id\n1\n");
    let cache = open(dir.path(), local(files.path()));
    cache.define_table("t", on_change("a.csv")).unwrap();
    write(files.path(), "next.csv", "id\n2\n");
    fs::rename(files.path().join("next.csv"), files.path().join("a.csv")).unwrap();
    wait_for(&cache, &[2]);
}

#[test]
fn only_folders_on_disk_tell_changes() {
    let dir = tempfile::tempdir().unwrap();
    if let Ok(bucket) = ObjectStoreSource::new(Location::new("s3://bucket").option("region", "eu-west-1")) {
        assert!(!bucket.capabilities().watch);
        let cache = open(dir.path(), bucket);
        let refused = cache.follow_table("t", on_change("*.csv")).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Unsupported);
        assert!(refused.message().contains("tells no changes"), "{refused}");
    }
}

/// The same source, with a list of the parts of each fetch.
#[derive(Debug)]
struct Noted {
    source: ObjectStoreSource,
    parts: Arc<Mutex<Vec<Option<Vec<String>>>>>,
}

impl Source for Noted {
    fn capabilities(&self) -> Capabilities {
        self.source.capabilities()
    }

    fn relations(&self, call: &Call) -> Result<Vec<String>> {
        self.source.relations(call)
    }

    fn describe(&self, relation: &Relation, call: &Call) -> Result<Description> {
        self.source.describe(relation, call)
    }

    fn mark(&self, relation: &Relation, call: &Call) -> Result<Option<Vec<u8>>> {
        self.source.mark(relation, call)
    }

    fn fetch(&self, fetch: &Fetch, call: &Call) -> Result<Fetched> {
        self.parts.lock().push(fetch.wanted_parts().map(<[String]>::to_vec));
        self.source.fetch(fetch, call)
    }

    fn watch(&self, relation: &Relation, changed: Changed) -> Result<Watch> {
        self.source.watch(relation, changed)
    }
}

#[test]
fn only_folders_that_changed_are_read() {
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for year in 2011..2015 {
        write(files.path(), &format!("year={year}/city=New%20York/a.csv"), format!("id\n{year}\n"));
    }
    let parts: Arc<Mutex<Vec<Option<Vec<String>>>>> = Arc::default();
    let cache = open(dir.path(), Noted { source: local(files.path()), parts: parts.clone() });
    cache.define_table("t", on_change("**/*.csv")).unwrap();
    wait_for(&cache, &[2011, 2012, 2013, 2014]);
    cache.pause_refreshes("t").unwrap();
    assert_eq!(*parts.lock(), [None]);
    write(files.path(), "year=2013/city=New%20York/b.csv", "id\n1\n");
    write(files.path(), "year=__HIVE_DEFAULT_PARTITION__/city=Rome/a.csv", "id\n2\n");
    fs::remove_dir_all(files.path().join("year=2011")).unwrap();
    cache.refresh("t").unwrap();
    wait_for(&cache, &[2012, 2013, 2014, 1, 2]);
    assert_eq!(parts.lock().last().unwrap().as_ref().unwrap().len(), 2);
    // Another type of a column is another table: all files are read.
    write(files.path(), "year=MMXV/city=Rome/a.csv", "id\n3\n");
    cache.refresh("t").unwrap();
    assert_eq!(cache.table("t").unwrap().info().unwrap().rows, 6);
    assert_eq!(parts.lock().last().unwrap(), &None);
}
