//! Refreshes of many files of which none changed.

use pillion::Cache;
use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Points, write_parquet};
use pillion_benches::harness::{Contestant, Plan, Sink, Subject};
use pillion_benches::workload::LOADS;
use tempfile::TempDir;

use super::Size;
use super::servers::S3Server;
use super::tables::{cache_of, contents, folder, followed};

const LOCAL: &str = "local folder";
const S3: &str = "S3";
const UNCHANGED: Subject = Subject {
    figure: "S5",
    name: "refresh, unchanged",
    state: "a file a hundred rows, one pattern; a refresh that finds that no file changed, and reads none",
};
/// Rows of a file.
const FILE_ROWS: u64 = 100;

pub(super) fn unchanged(bench: &mut Bench, size: &Size) -> Result<()> {
    if !bench.wants(&[UNCHANGED]) {
        return Ok(());
    }
    bench.set("files", &size.files);
    let files = tempfile::tempdir()?;
    let points = Points::new(size.files as u64 * FILE_ROWS);
    let mut names = Vec::new();
    for first in (0..points.rows()).step_by(usize::try_from(FILE_ROWS)?) {
        let name = format!("{first:010}.parquet");
        write_parquet(&files.path().join(&name), &points.batches_between(first, first + FILE_ROWS)?)?;
        names.push(name);
    }
    let server = S3Server::start()?;
    let local = Refresh::of(cache_of(folder(files.path())?)?)?;
    let remote = match &server {
        None => None,
        Some(server) => {
            let read = |name: String| Ok((name.clone(), std::fs::read(files.path().join(name))?));
            server.put(names.into_iter().map(read).collect::<Result<Vec<_>>>()?)?;
            Some(Refresh::of(cache_of(server.source()?)?)?)
        }
    };
    bench.row(UNCHANGED, Plan { rounds: 10, ..LOADS }, |row| {
        let row = row.with(LOCAL, local);
        Ok(match remote {
            None => row.without(S3),
            Some(remote) => row.with(S3, remote),
        })
    })?;
    drop(server);
    Ok(())
}

/// Refreshes a table that is loaded.
#[derive(Debug)]
struct Refresh {
    // Declared before its folder, so that the folder is removed last.
    cache: Cache,
    _dir: TempDir,
}

impl Refresh {
    fn of((cache, dir): (Cache, TempDir)) -> Result<Self> {
        cache.define_table(Points::NAME, followed("*.parquet"))?;
        Ok(Self { cache, _dir: dir })
    }
}

impl Contestant for Refresh {
    fn call(&mut self, _: u64, _: &mut impl Sink) -> Result<()> {
        self.cache.refresh(Points::NAME)?;
        Ok(())
    }

    fn check(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        self.call(call, &mut pillion_benches::harness::Forget)?;
        contents(&self.cache)?.into_iter().for_each(|number| sink.int(number));
        sink.end_row();
        Ok(())
    }
}
