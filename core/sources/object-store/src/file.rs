//! One file that is read: its bytes, as it was when it was listed.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use pillion::files::missing_codec;
use pillion::source::Call;
use pillion::{Error, ErrorCode, Result};

use crate::runtime::{Ahead, Driver};
use crate::store::{Found, Store};

/// Requests for one file at a time.
const REQUESTS: usize = 6;

/// A file. Clones are the same file.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    store: Store,
    found: Arc<Found>,
    driver: Driver,
    call: Call,
    /// Bytes that were read before, and where they begin.
    held: Option<(u64, Bytes)>,
    /// Why a read failed: the library that decodes the file does not keep that.
    failure: Arc<Mutex<Option<Error>>>,
}

impl SourceFile {
    pub(crate) fn new(store: &Store, driver: &Driver, call: &Call, found: &Arc<Found>) -> Self {
        Self {
            store: store.clone(),
            found: found.clone(),
            driver: driver.clone(),
            call: call.clone(),
            held: None,
            failure: Arc::default(),
        }
    }

    /// The same file, read as a whole.
    ///
    /// # Errors
    /// Those of reading it.
    pub(crate) fn with_all(self) -> Result<Self> {
        let range = 0..self.found.meta.size;
        let whole = self.driver.run(&self.call, self.store.clone().read(self.found.clone(), range))?;
        Ok(self.with_bytes(whole))
    }

    pub(crate) fn with_bytes(self, whole: Bytes) -> Self {
        self.with_held(0, whole)
    }

    /// The same file, of which some bytes were read already.
    pub(crate) fn with_held(mut self, start: u64, bytes: Bytes) -> Self {
        self.held = Some((start, bytes));
        self
    }

    /// How errors name it.
    pub(crate) fn name(&self) -> String {
        self.store.name_of(&self.found.path)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.found.meta.size
    }

    /// Some of its bytes.
    pub(crate) fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        match self.held(&range) {
            Some(bytes) => Ok(bytes),
            None => {
                self.noted(self.driver.run(&self.call, self.store.clone().read(self.found.clone(), range)))
            }
        }
    }

    /// Several stretches of it.
    pub(crate) fn read_all(&self, ranges: Vec<Range<u64>>) -> io::Result<Vec<Bytes>> {
        let held: Option<Vec<Bytes>> = ranges.iter().map(|range| self.held(range)).collect();
        if let Some(held) = held {
            return Ok(held);
        }
        let (store, found) = (self.store.clone(), self.found.clone());
        let reads = ranges.into_iter().map(move |range| store.clone().read(found.clone(), range));
        let reads: Vec<_> = reads.collect();
        self.noted(self.driver.run(&self.call, stream::iter(reads).buffered(REQUESTS).try_collect()))
    }

    /// Starts to read bytes; `None` if they are here already.
    pub(crate) fn read_ahead(&self, range: Range<u64>) -> Option<Ahead<Bytes>> {
        match self.held(&range) {
            Some(_) => None,
            None => self.driver.spawn(self.store.clone().read(self.found.clone(), range)).ok(),
        }
    }

    /// Waits for bytes whose reading began before.
    pub(crate) fn finish(&self, ahead: Ahead<Bytes>) -> io::Result<Bytes> {
        self.noted(self.driver.run(&self.call, ahead.get()))
    }

    /// Fails if the file was changed where that is possible while it is read.
    ///
    /// # Errors
    /// [`ErrorCode::SourceUnavailable`].
    pub(crate) fn look_again(&self) -> Result<()> {
        if !self.store.scheme().changes_in_place() {
            return Ok(());
        }
        self.driver.run(&self.call, self.store.clone().look_again(self.found.clone()))
    }

    /// Runs code that decodes the file. A damaged file makes it fail or panic; either is an error of the file, unless reading
    /// its bytes failed.
    ///
    /// # Errors
    /// [`ErrorCode::SourceInvalid`], or why the bytes could not be read.
    pub(crate) fn decode<T, E: Into<Refused>>(
        &self,
        what: &str,
        decode: impl FnOnce() -> std::result::Result<T, E>,
    ) -> Result<T> {
        let decoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode));
        let refused = match decoded {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.into(),
            Err(_) => Refused::Why("the decoder panicked".to_owned()),
        };
        if let Some(failure) = self.failure.lock().take() {
            return Err(failure);
        }
        Err(match refused {
            Refused::As(error) => error,
            Refused::Why(why) => match missing_codec(&why) {
                Some(codec) => {
                    let message = format!(
                        "`{}` is compressed by {codec}, which this build cannot read: write it with another compression, \
                         or without",
                        self.name()
                    );
                    Error::new(ErrorCode::Unsupported, message)
                }
                None => Error::new(ErrorCode::SourceInvalid, format!("`{}` {what}: {why}", self.name())),
            },
        })
    }

    fn held(&self, range: &Range<u64>) -> Option<Bytes> {
        let (first, bytes) = self.held.as_ref()?;
        let place = |at: u64| usize::try_from(at.checked_sub(*first)?).ok();
        let (start, end) = (place(range.start)?, place(range.end)?);
        (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
    }

    fn noted<T>(&self, result: Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let text = error.message().to_owned();
            self.failure.lock().get_or_insert(error);
            io::Error::other(text)
        })
    }
}

/// Why a decoder gave up.
pub(crate) enum Refused {
    /// An error that says all.
    As(Error),
    /// What the library says.
    Why(String),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::As(error)
    }
}

impl From<arrow::error::ArrowError> for Refused {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Why(error.to_string())
    }
}

impl From<parquet::errors::ParquetError> for Refused {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::Why(error.to_string())
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Why(error.to_string())
    }
}
