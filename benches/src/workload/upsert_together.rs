//! Commits of several threads at the same time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;

use arrow::array::RecordBatch;
use pillion::{CacheOptions, Durability, Table};

use super::Stored;
use crate::Result;
use crate::data::Points;
use crate::harness::{Contestant, Forget, Sink};

/// Several threads upsert a change each, all at once; a call ends when the last of them has committed.
#[derive(Debug)]
pub struct UpsertTogether {
    // Declared before the cache, which they write to.
    writers: Writers,
    table: Table,
    _stored: Stored,
}

/// Threads that wait for a call, and end with it.
#[derive(Debug)]
struct Writers {
    begin: Arc<Barrier>,
    end: Arc<Barrier>,
    over: Arc<AtomicBool>,
    /// Commits so far.
    committed: Arc<AtomicU64>,
    expected: usize,
    threads: Vec<JoinHandle<()>>,
}

impl UpsertTogether {
    /// Upserts `changes` into a new table of all `points`; every thread has changes of its own.
    ///
    /// # Errors
    /// The cache refuses, or a thread cannot be started.
    pub fn new(
        points: Points,
        durability: Durability,
        changes: &[RecordBatch],
        writers: usize,
    ) -> Result<Self> {
        let stored = Stored::create_with(CacheOptions::new().durability(durability))?;
        let table = stored.load_points(points.batches()?)?;
        let writers = Writers::start(&table, changes, writers)?;
        Ok(Self { writers, table, _stored: stored })
    }
}

impl Contestant for UpsertTogether {
    fn call(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        self.writers.begin.wait();
        self.writers.end.wait();
        sink.int(self.writers.committed.load(Ordering::Relaxed).cast_signed());
        Ok(())
    }

    fn check(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let before = self.table.info()?.version;
        self.call(call, &mut Forget)?;
        let after = self.table.info()?;
        let committed = after.version.sequence - before.sequence;
        if committed != self.writers.threads.len() as u64 {
            return Err(format!("{committed} commits by {} threads", self.writers.threads.len()).into());
        }
        sink.int(after.rows.cast_signed());
        sink.end_row();
        Ok(())
    }
}

impl Writers {
    fn start(table: &Table, changes: &[RecordBatch], writers: usize) -> Result<Self> {
        let barrier = || Arc::new(Barrier::new(writers + 1));
        let mut this = Self {
            begin: barrier(),
            end: barrier(),
            over: Arc::new(AtomicBool::new(false)),
            committed: Arc::default(),
            expected: writers + 1,
            threads: Vec::with_capacity(writers),
        };
        for writer in 0..writers {
            let (table, changes) = (table.clone(), changes.to_vec());
            let (begin, end, over) = (this.begin.clone(), this.end.clone(), this.over.clone());
            let committed = this.committed.clone();
            let write = move || {
                for change in changes.iter().cycle().skip(writer).step_by(writers) {
                    begin.wait();
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    // On an error, the thread that waits for all must not wait for ever; the check notices that a
                    // commit is missing.
                    match table.upsert(change.clone()) {
                        Ok(_) => drop(committed.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => eprintln!("a commit failed: {error:#}"),
                    }
                    end.wait();
                }
            };
            this.threads.push(std::thread::Builder::new().name("writer".to_owned()).spawn(write)?);
        }
        Ok(this)
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Fewer than were to be started wait for nobody.
        if self.threads.len() + 1 == self.expected {
            self.begin.wait();
            self.threads.drain(..).for_each(|thread| drop(thread.join()));
        }
    }
}
