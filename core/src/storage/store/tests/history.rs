//! What a disk that fails leaves of the history: an error of the disk, unless a file is gone.

use std::collections::BTreeSet;

use super::*;
use crate::storage::table::history::History;

const ENOENT: i32 = 2;
/// As many bytes of history as there are.
const ALL: u64 = u64::MAX;

/// Reads changes again and again, with another operation that fails with `errno` each time, and gives to `check` what
/// comes of each but the last, whose fault is not reached.
fn with_each_fault(errno: i32, check: impl Fn(usize, Result<usize>)) {
    let dir = scratch();
    let files = |vfs: Arc<dyn Vfs>| Files::new(dir.path().to_owned(), vfs);
    let store = Store::open(files(Arc::new(OsVfs)), Sync::Always, 1 << 20, ALL).unwrap();
    store.create_table(shape(), SystemTime::now(), &mut rows(0..3)).unwrap();
    let table = store.state().table("numbers").unwrap().shape.id;
    let since = store.state().version;
    // Several log files, and segments that were replaced since.
    append(&store, table, 10..20).unwrap();
    append(&store, table, MANY.start + 100..MANY.end + 100).unwrap();
    store.fold().unwrap();
    replace(&store, table, 500..600).unwrap();
    store.fold().unwrap();
    append(&store, table, [7]).unwrap();
    let state = store.state();
    let read = |vfs: &FaultyVfs| {
        let table = state.table("numbers").unwrap();
        let history = History::read(&files(Arc::new(vfs.clone())), &state, table, since)?;
        history.batches().map(|batch| batch.map(|batch| batch.num_rows())).sum()
    };
    for first in 0.. {
        let fault = Fault { errno, first, count: 1, writes_half: false, reach: Reach::Everything };
        let vfs = FaultyVfs::with(fault);
        let told: Result<usize> = read(&vfs);
        if !vfs.struck() {
            assert_eq!(told.unwrap(), 10 + 40_000 + 1 + 100 + 1);
            assert!(first > 5, "several files are read");
            return;
        }
        check(first, told);
    }
}

/// What no retry helps is said only if it is so.
#[test]
fn history_that_cannot_be_read_is_not_gone() {
    with_each_fault(EIO, |operation, told| {
        let error = told.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Io, "operation {operation}: {error:?}");
    });
}

#[test]
fn history_whose_files_were_removed_is_gone() {
    let codes = std::sync::Mutex::new(BTreeSet::new());
    with_each_fault(ENOENT, |operation, told| {
        // A file that is gone is no loss if another has what it had. The first operation lists the files.
        if operation > 0
            && let Err(error) = told
        {
            codes.lock().unwrap().insert(error.code().number());
        }
    });
    assert_eq!(codes.into_inner().unwrap(), BTreeSet::from([ErrorCode::HistoryGone.number()]));
}
