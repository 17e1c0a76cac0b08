//! DuckDB's C interface, as far as lookups need it, and what makes it safe to call.
#![expect(unsafe_code, reason = "the library is loaded at run time and has a C interface")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::ptr::null_mut;
use std::rc::Rc;

use pillion_benches::Result;
use pillion_benches::harness::Sink;

type Handle = *mut c_void;
/// `duckdb_state`: 0 is success.
type State = u32;

/// `duckdb_result`: the caller's memory, the library's content.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawAnswer {
    deprecated: [u64; 3],
    deprecated_pointers: [Handle; 2],
    internal: Handle,
}

impl RawAnswer {
    const EMPTY: Self =
        Self { deprecated: [0; 3], deprecated_pointers: [null_mut(); 2], internal: null_mut() };
}

/// `duckdb_string_t`: short texts are in place, longer ones behind a pointer.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawText {
    len: u32,
    prefix: [u8; 4],
    address: [u8; 8],
}

const TEXT_IN_PLACE_MAX: u32 = 12;

/// `duckdb_type` of the columns of a row of the points.
const POINT_TYPES: [u32; 5] = [BIGINT, BIGINT, DOUBLE, VARCHAR, VARCHAR];
const BIGINT: u32 = 5;
const DOUBLE: u32 = 11;
const VARCHAR: u32 = 17;

macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions that are used, under their names without `duckdb_`.
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Functions {
            /// Loads a library, which stays loaded.
            fn load(file: &Path) -> Result<&'static Self> {
                // SAFETY: what runs when a library is loaded is up to it; the user named it as DuckDB's.
                let library = Box::leak(Box::new(unsafe { libloading::Library::new(file)? }));
                // SAFETY: the signatures are those of duckdb.h, whose functions keep theirs from version to version.
                let functions = unsafe {
                    Self { $($name: *library.get(concat!("duckdb_", stringify!($name), "\0"))?,)* }
                };
                Ok(Box::leak(Box::new(functions)))
            }
        }
    };
}

functions! {
    library_version: fn() -> *const c_char;
    open: fn(*const c_char, *mut Handle) -> State;
    close: fn(*mut Handle);
    connect: fn(Handle, *mut Handle) -> State;
    disconnect: fn(*mut Handle);
    query: fn(Handle, *const c_char, *mut RawAnswer) -> State;
    prepare: fn(Handle, *const c_char, *mut Handle) -> State;
    prepare_error: fn(Handle) -> *const c_char;
    destroy_prepare: fn(*mut Handle);
    bind_int64: fn(Handle, u64, i64) -> State;
    execute_prepared: fn(Handle, *mut RawAnswer) -> State;
    result_error: fn(*mut RawAnswer) -> *const c_char;
    destroy_result: fn(*mut RawAnswer);
    column_count: fn(*mut RawAnswer) -> u64;
    column_type: fn(*mut RawAnswer, u64) -> u32;
    fetch_chunk: fn(RawAnswer) -> Handle;
    destroy_data_chunk: fn(*mut Handle);
    data_chunk_get_size: fn(Handle) -> u64;
    data_chunk_get_vector: fn(Handle, u64) -> Handle;
    vector_get_data: fn(Handle) -> Handle;
}

/// A file that is open.
#[derive(Clone)]
pub struct Database {
    file: Rc<OpenFile>,
}

struct OpenFile {
    functions: &'static Functions,
    handle: Handle,
}

impl Database {
    /// Loads the library and makes or opens a file.
    ///
    /// # Errors
    /// The library cannot be loaded, or refuses the file.
    pub fn open(library: &Path, file: &Path) -> Result<Self> {
        let functions = Functions::load(library)?;
        let path = CString::new(file.as_os_str().as_encoded_bytes())?;
        let mut handle = null_mut();
        // SAFETY: the path ends with a zero, and the handle is written to.
        if unsafe { (functions.open)(path.as_ptr(), &raw mut handle) } != 0 {
            return Err(format!("DuckDB does not open {}", file.display()).into());
        }
        Ok(Self { file: Rc::new(OpenFile { functions, handle }) })
    }

    /// Version of the library.
    pub fn version(&self) -> String {
        // SAFETY: a constant of the library.
        text(unsafe { (self.file.functions.library_version)() }).trim_start_matches('v').to_owned()
    }

    /// A connection.
    ///
    /// # Errors
    /// DuckDB refuses.
    pub fn connect(&self) -> Result<Connection> {
        let mut handle = null_mut();
        // SAFETY: the file is open, and the handle is written to.
        if unsafe { (self.file.functions.connect)(self.file.handle, &raw mut handle) } != 0 {
            return Err("DuckDB makes no connection".into());
        }
        Ok(Connection { open: Rc::new(OpenConnection { handle, database: self.clone() }) })
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: it is open, and connections keep it until they are gone.
        unsafe { (self.functions.close)(&raw mut self.handle) }
    }
}

/// A connection to a file.
pub struct Connection {
    open: Rc<OpenConnection>,
}

struct OpenConnection {
    handle: Handle,
    database: Database,
}

impl Connection {
    /// Runs a statement without an answer.
    ///
    /// # Errors
    /// Those of DuckDB.
    pub(super) fn run(&self, sql: &str) -> Result<()> {
        self.query(sql).map(drop)
    }

    /// Runs a query and reads the rows of the points that answer it; their number.
    ///
    /// # Errors
    /// Those of DuckDB, or an answer of other columns.
    pub(super) fn read_points(&self, sql: &str, sink: &mut impl Sink) -> Result<u64> {
        self.query(sql)?.read_points(sink)
    }

    /// Prepares a statement.
    ///
    /// # Errors
    /// Those of DuckDB.
    pub(super) fn prepare(self, sql: &str) -> Result<Statement> {
        let (functions, sql) = (self.open.functions(), CString::new(sql)?);
        let mut statement = Statement { handle: null_mut(), open: self.open };
        // SAFETY: the connection is open, the text ends with a zero, and the handle is written to.
        let state =
            unsafe { (functions.prepare)(statement.open.handle, sql.as_ptr(), &raw mut statement.handle) };
        if state != 0 {
            // SAFETY: a statement that was refused has a handle too, which says why.
            return Err(text(unsafe { (functions.prepare_error)(statement.handle) }).into());
        }
        Ok(statement)
    }

    fn query(&self, sql: &str) -> Result<Answer> {
        let sql = CString::new(sql)?;
        let (functions, handle) = (self.open.functions(), self.open.handle);
        // SAFETY: the connection is open, and the text ends with a zero.
        Answer::of(functions, |raw| unsafe { (functions.query)(handle, sql.as_ptr(), raw) })
    }
}

impl OpenConnection {
    fn functions(&self) -> &'static Functions {
        self.database.file.functions
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        // SAFETY: it is open, and statements keep it until they are gone.
        unsafe { (self.functions().disconnect)(&raw mut self.handle) }
    }
}

/// A statement that was prepared.
pub(super) struct Statement {
    handle: Handle,
    open: Rc<OpenConnection>,
}

impl Statement {
    /// Runs it with a key and reads the rows of the points that answer it; their number.
    ///
    /// # Errors
    /// Those of DuckDB, or an answer of other columns.
    pub(super) fn read_points(&mut self, key: i64, sink: &mut impl Sink) -> Result<u64> {
        let functions = self.open.functions();
        // SAFETY: the statement is prepared.
        if unsafe { (functions.bind_int64)(self.handle, 1, key) } != 0 {
            return Err("DuckDB takes no key".into());
        }
        // SAFETY: as above.
        Answer::of(functions, |raw| unsafe { (functions.execute_prepared)(self.handle, raw) })?
            .read_points(sink)
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        // SAFETY: nothing else has the handle. One that is null is left alone.
        unsafe { (self.open.functions().destroy_prepare)(&raw mut self.handle) }
    }
}

/// An answer.
struct Answer {
    functions: &'static Functions,
    raw: RawAnswer,
}

impl Answer {
    /// What `run` writes, or the error that it reports.
    fn of(functions: &'static Functions, run: impl FnOnce(*mut RawAnswer) -> State) -> Result<Self> {
        let mut answer = Self { functions, raw: RawAnswer::EMPTY };
        if run(&raw mut answer.raw) != 0 {
            // SAFETY: a failed call has written its error.
            return Err(text(unsafe { (functions.result_error)(&raw mut answer.raw) }).into());
        }
        Ok(answer)
    }

    fn read_points(&mut self, sink: &mut impl Sink) -> Result<u64> {
        let (functions, raw) = (self.functions, &raw mut self.raw);
        // SAFETY: the answer was written, and is asked for columns that it has.
        let is_point = unsafe {
            (functions.column_count)(raw) == POINT_TYPES.len() as u64
                && (0..).zip(POINT_TYPES).all(|(at, expected)| (functions.column_type)(raw, at) == expected)
        };
        if !is_point {
            return Err("the columns are not those of the points".into());
        }
        let mut rows = 0;
        // SAFETY: the answer was written. It is null where there are no more chunks.
        while let Some(chunk) = Chunk::of(functions, unsafe { (functions.fetch_chunk)(self.raw) }) {
            rows += chunk.read_points(sink)?;
        }
        Ok(rows)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: it was written, or is empty, which is left alone.
        unsafe { (self.functions.destroy_result)(&raw mut self.raw) }
    }
}

/// Some rows of an answer.
struct Chunk {
    functions: &'static Functions,
    handle: Handle,
}

impl Chunk {
    fn of(functions: &'static Functions, handle: Handle) -> Option<Self> {
        (!handle.is_null()).then_some(Self { functions, handle })
    }

    /// Reads rows whose columns were checked to be those of the points; their number.
    fn read_points(&self, sink: &mut impl Sink) -> Result<u64> {
        // SAFETY: the chunk is not null.
        let rows = unsafe { (self.functions.data_chunk_get_size)(self.handle) };
        for row in 0..usize::try_from(rows)? {
            // SAFETY: the columns are of these types, and `row` is one of the rows.
            let (id, amount, price) = unsafe { (self.value(0, row), self.value(1, row), self.value(2, row)) };
            sink.int(id);
            sink.int(amount);
            sink.float(price);
            for column in [3, 4] {
                // SAFETY: as above; the column has no nulls, whose texts would be anything.
                let text: &RawText = unsafe { &*self.place(column, row) };
                sink.text(std::str::from_utf8(text.bytes())?);
            }
            sink.end_row();
        }
        Ok(rows)
    }

    /// A number of a column of `T`s.
    ///
    /// # Safety
    /// The column has this type, and the chunk this row.
    unsafe fn value<T: Copy>(&self, column: u64, row: usize) -> T {
        // SAFETY: as the caller says.
        unsafe { *self.place(column, row) }
    }

    /// Where a value of a column of `T`s is.
    ///
    /// # Safety
    /// The column has this type, and the chunk this row.
    unsafe fn place<T>(&self, column: u64, row: usize) -> *const T {
        // SAFETY: the chunk is there and, as the caller says, has this column and this row. Vectors of answers are flat,
        // so that values are one beside the other.
        unsafe {
            let vector = (self.functions.data_chunk_get_vector)(self.handle, column);
            (self.functions.vector_get_data)(vector).cast::<T>().add(row)
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: nothing else has it.
        unsafe { (self.functions.destroy_data_chunk)(&raw mut self.handle) }
    }
}

impl RawText {
    /// Its bytes, which live as long as the chunk that it is in.
    fn bytes(&self) -> &[u8] {
        let start = match self.len {
            0..=TEXT_IN_PLACE_MAX => (&raw const *self).cast::<u8>().wrapping_add(size_of::<u32>()),
            _ => usize::from_le_bytes(self.address) as *const u8,
        };
        // SAFETY: a text is as long as it says. Twelve bytes behind the length are the text itself if it is no longer;
        // otherwise the last eight of them are its address.
        unsafe { std::slice::from_raw_parts(start, self.len as usize) }
    }
}

/// A text of the library, for a message.
fn text(start: *const c_char) -> String {
    if start.is_null() {
        return "DuckDB does not say why".to_owned();
    }
    // SAFETY: texts of the library end with a zero and live longer than this call.
    unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned()
}
