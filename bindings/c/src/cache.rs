//! Every way to get a cache, for C.
#![expect(unsafe_code, reason = "functions of C")]

use std::ffi::{CStr, c_char};
use std::time::Duration;

use arrow::ffi_stream::FFI_ArrowArrayStream;
use pillion::{Attach, Cache, ConnectOptions, Error, ErrorCode, Input, Result, TableDefinition, Way};

use crate::border::{Place, answered, handle, stream, take_back, text, texts};
use crate::error::PillionError;
use crate::table::PillionTable;

/// A table cache. Any number of threads can use it at a time.
pub struct PillionCache(Cache);

/// Whether a client of a sidecar maps the files of the cache instead of asking for their rows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PillionAttach {
    /// Maps the files if the directory is readable; otherwise asks the sidecar.
    IfPossible = 0,
    /// Maps the files; connecting fails where that is not possible.
    Require = 1,
    /// Asks the sidecar.
    Never = 2,
}

fn give(cache: *mut *mut PillionCache, open: impl FnOnce() -> Result<Cache>) -> *mut PillionError {
    answered(|| {
        // SAFETY: the promise of the functions that call this one: `cache` is null, or memory for a handle.
        let place = unsafe { Place::new(cache, "cache") }?;
        place.give_none();
        place.give(PillionCache(open()?));
        Ok(())
    })
}

/// Opens a cache directory and becomes its owner, or creates it. Blocks on the disk.
///
/// # Safety
/// `dir` is a text that ends at a zero, and `cache` is memory for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_open(
    dir: *const c_char,
    cache: *mut *mut PillionCache,
) -> *mut PillionError {
    // SAFETY: the caller's promise.
    give(cache, || Cache::open(unsafe { text(dir, "dir") }?))
}

/// Opens a cache directory for reading, whether or not another process owns it: maps its files and writes nothing.
///
/// # Safety
/// As `pillion_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_open_read_only(
    dir: *const c_char,
    cache: *mut *mut PillionCache,
) -> *mut PillionError {
    // SAFETY: the caller's promise.
    give(cache, || Cache::open_read_only(unsafe { text(dir, "dir") }?))
}

/// Connects to a sidecar by the path of its socket; waits for one that is still starting. `attach` is a `pillion_attach`, and each
/// call takes at most `deadline_ms` milliseconds, or 60 seconds if it is 0.
///
/// # Safety
/// `socket` is a text that ends at a zero, and `cache` is memory for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_connect(
    socket: *const c_char,
    attach: u32,
    deadline_ms: u64,
    cache: *mut *mut PillionCache,
) -> *mut PillionError {
    give(cache, || {
        let attach = match attach {
            0 => Attach::IfPossible,
            1 => Attach::Require,
            2 => Attach::Never,
            other => {
                let message = format!("{other} is not a way to attach; there are 0, 1 and 2");
                return Err(Error::new(ErrorCode::InvalidArgument, message));
            }
        };
        let mut options = ConnectOptions::new().attach(attach);
        if deadline_ms > 0 {
            options = options.deadline(Duration::from_millis(deadline_ms));
        }
        // SAFETY: the caller's promise.
        options.connect(unsafe { text(socket, "socket") }?)
    })
}

/// Opens the cache that a URL names: `file:DIR`, `file:DIR?mode=ro`, `unix:SOCKET`, `unix:SOCKET?attach=never`.
///
/// # Safety
/// `url` is a text that ends at a zero, and `cache` is memory for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_from_url(
    url: *const c_char,
    cache: *mut *mut PillionCache,
) -> *mut PillionError {
    // SAFETY: the caller's promise.
    give(cache, || Cache::from_url(unsafe { text(url, "url") }?))
}

/// How the cache is reached: `embedded`, `attached` or `remote`. The text is a constant. Empty for null.
///
/// # Safety
/// `cache` is null or a cache that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_cache_way(cache: *const PillionCache) -> *const c_char {
    // SAFETY: the caller's promise.
    let way = unsafe { handle(cache, "cache") }.map(|cache| cache.0.way());
    let text: &'static CStr = match way {
        Ok(Way::Embedded) => c"embedded",
        Ok(Way::Attached) => c"attached",
        Ok(Way::Remote) => c"remote",
        _ => c"",
    };
    text.as_ptr()
}

/// Finds a table by its exact name. The table keeps the cache open, also after `pillion_cache_free`.
///
/// # Safety
/// `cache` is a cache that was not freed, `name` a text that ends at a zero, and `table` memory for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_cache_table(
    cache: *const PillionCache,
    name: *const c_char,
    table: *mut *mut PillionTable,
) -> *mut PillionError {
    answered(|| {
        // SAFETY: the caller's promises.
        let place = unsafe { Place::new(table, "table") }?;
        place.give_none();
        // SAFETY: the caller's promises.
        let (cache, name) = unsafe { (handle(cache, "cache")?, text(name, "name")?) };
        place.give(PillionTable::new(cache.0.table(name)?));
        Ok(())
    })
}

/// Creates a table with its first rows in one commit, with a primary key of `key_len` columns, or with none. If a table of that name
/// exists with the same key, it is given out unchanged and the rows are not read: a program can declare its tables at every start.
/// Takes the stream, also if it fails.
///
/// # Safety
/// `cache` is a cache that was not freed, `name` a text that ends at a zero, `rows` a valid stream, `key` points to `key_len` texts that
/// end at a zero, and `table` is memory for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_cache_create_table(
    cache: *const PillionCache,
    name: *const c_char,
    rows: *mut FFI_ArrowArrayStream,
    key: *const *const c_char,
    key_len: usize,
    table: *mut *mut PillionTable,
) -> *mut PillionError {
    answered(|| {
        // SAFETY: the caller's promises. The stream is the first, because it is taken in any case.
        let rows = unsafe { stream(rows) };
        // SAFETY: the caller's promises.
        let place = unsafe { Place::new(table, "table") }?;
        place.give_none();
        // SAFETY: the caller's promises.
        let (cache, name) = unsafe { (handle(cache, "cache")?, text(name, "name")?) };
        // SAFETY: the caller's promises.
        let key = unsafe { texts(key, key_len, "key") }?;
        let definition = TableDefinition::new(Input::reader(rows?)).primary_key(key);
        place.give(PillionTable::new(cache.0.define_table(name, definition)?));
        Ok(())
    })
}

/// Makes everything durable and closes the cache: other handles of it can still read, and further writes are refused. Freeing the last
/// handle does the same, but cannot say what went wrong.
///
/// # Safety
/// `cache` is a cache that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_cache_close(cache: *const PillionCache) -> *mut PillionError {
    // SAFETY: the caller's promise.
    answered(|| unsafe { handle(cache, "cache") }?.0.close())
}

/// Frees a cache. Null is allowed. Its tables, rows and streams stay usable, and keep it open.
///
/// # Safety
/// `cache` is null or a cache that was not freed, and is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_cache_free(cache: *mut PillionCache) {
    // SAFETY: the caller's promise.
    unsafe { take_back(cache) };
}
