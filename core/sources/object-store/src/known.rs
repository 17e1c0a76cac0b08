//! What was learned of files: a file that did not change is not looked at again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use pillion::files::{FileColumns, FileReading};
use pillion::source::Call;
use pillion::{Error, ErrorCode, FileOptions, Result};

use crate::file::SourceFile;
use crate::formats;
use crate::marks;
use crate::runtime::Driver;
use crate::store::{Found, Store};

/// Files that are remembered.
const FILES_MAX: usize = 200_000;
/// Files that are looked at at a time.
const THREADS: usize = 8;

/// What was learned of files, by what identifies them.
#[derive(Debug, Default)]
pub(crate) struct Known {
    files: Mutex<HashMap<u128, Arc<FileColumns>>>,
}

/// Looks at files of one relation.
#[derive(Clone, Copy)]
pub(crate) struct Looker<'a> {
    pub(crate) known: &'a Known,
    pub(crate) store: &'a Store,
    pub(crate) driver: &'a Driver,
    pub(crate) call: &'a Call,
    pub(crate) options: &'a FileOptions,
}

impl Looker<'_> {
    /// What each file says of its columns.
    ///
    /// # Errors
    /// That of the first file with one.
    pub(crate) fn look(
        self,
        files: &[Arc<Found>],
        readings: &[FileReading],
    ) -> Result<Vec<Arc<FileColumns>>> {
        let how = format!("{:?}", self.options);
        let keys: Vec<u128> = files.iter().map(|file| marks::of_one(file, &how)).collect();
        let looked: Vec<Mutex<Option<Result<Arc<FileColumns>>>>> = {
            let known = self.known.files.lock();
            keys.iter().map(|key| Mutex::new(known.get(key).cloned().map(Ok))).collect()
        };
        let unknown: Vec<usize> = (0..files.len()).filter(|index| looked[*index].lock().is_none()).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(index) = unknown.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                let found = self.look_at(&files[index], &readings[index]);
                if found.is_err() {
                    next.store(unknown.len(), Ordering::Relaxed);
                }
                *looked[index].lock() = Some(found.map(Arc::new));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..THREADS.min(unknown.len()) {
                scope.spawn(work);
            }
            work();
        });
        self.keep(&keys, looked)
    }

    fn look_at(self, found: &Arc<Found>, reading: &FileReading) -> Result<FileColumns> {
        let mut file = SourceFile::new(self.store, self.driver, self.call, found);
        if self.store.may_lack_ranges() && file.bytes() <= self.store.small_file() {
            file = file.with_all()?;
        }
        formats::look(reading, &file, self.options)
    }

    fn keep(
        self,
        keys: &[u128],
        looked: Vec<Mutex<Option<Result<Arc<FileColumns>>>>>,
    ) -> Result<Vec<Arc<FileColumns>>> {
        let mut known = self.known.files.lock();
        if known.len() + keys.len() > FILES_MAX {
            known.clear();
        }
        let mut kept: Vec<Arc<FileColumns>> = Vec::with_capacity(keys.len());
        let (mut failure, mut is_missing) = (None, false);
        for (key, looked) in keys.iter().zip(looked) {
            match looked.into_inner() {
                Some(Ok(looked)) => {
                    known.insert(*key, looked.clone());
                    kept.push(looked);
                }
                Some(Err(error)) => failure = failure.or(Some(error)),
                None => is_missing = true,
            }
        }
        match failure {
            Some(error) => Err(error),
            None if is_missing => Err(Error::new(ErrorCode::Internal, "a file was not looked at")),
            None => Ok(kept),
        }
    }
}
