//! The files of a folder by name, for connectors of table formats.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use pillion::Result;
use pillion::source::Call;

use crate::file::SourceFile;
use crate::formats::parquet::ParquetFile;
use crate::marks;
use crate::runtime::{Ahead, Driver};
use crate::store::{Found, Store};

/// Requests at a time.
const REQUESTS: usize = 8;
/// Bytes at the end of a larger file that are read with its footer.
const END: u64 = 128 << 10;

/// The files of a [`Folder`](crate::Folder) for the time of a call. All functions block until an answer is there or the call ends.
/// Names are paths below the folder. Clones are of the same call.
///
/// # Errors
/// Of all functions, besides those that they name: [`SourceUnavailable`](pillion::ErrorCode::SourceUnavailable),
/// [`SourceRefused`](pillion::ErrorCode::SourceRefused), [`Unsupported`](pillion::ErrorCode::Unsupported) for a server that cannot do
/// it, [`InvalidArgument`](pillion::ErrorCode::InvalidArgument) for a name that no file can have, and those of the call.
#[derive(Clone, Debug)]
pub struct Files {
    store: Store,
    driver: Driver,
    call: Call,
}

/// A file as a listing found it.
#[derive(Clone, Debug)]
pub struct ListedFile {
    found: Found,
}

impl ListedFile {
    /// Its name, below the folder.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.found.path
    }

    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.found.meta.size
    }

    /// When it was changed last.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        self.found.meta.last_modified.into()
    }

    /// A digest of its name, length, tag and time: a file that was replaced has another one.
    #[must_use]
    pub fn stamp(&self) -> u128 {
        marks::of_one(&self.found, "")
    }
}

impl Files {
    pub(crate) fn new(store: Store, driver: Driver, call: Call) -> Self {
        Self { store, driver, call }
    }

    /// The call.
    #[must_use]
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// How errors name a file.
    #[must_use]
    pub fn name_of(&self, path: &str) -> String {
        self.store.name_of(path)
    }

    /// The files in a folder, but not those in folders of it, whose names come after `after` by their bytes, in this order. A folder that is
    /// not there has none.
    ///
    /// # Errors
    /// Those of [`Files`].
    pub fn list_after(&self, folder: &str, after: &str) -> Result<Vec<ListedFile>> {
        let listing = self.store.clone().list_after(folder.to_owned(), after.to_owned());
        let found = self.driver.run(&self.call, listing)?;
        Ok(found.into_iter().map(|found| ListedFile { found }).collect())
    }

    /// The names of the folders at the top that have files in a folder `inner` of theirs. Looks into the first `most` folders only.
    ///
    /// # Errors
    /// Those of [`Files`].
    pub fn folders_with(&self, inner: &str, most: usize) -> Result<Vec<String>> {
        let top = self.driver.run(&self.call, self.store.clone().top())?;
        let folders = top.into_iter().filter_map(|name| name.strip_suffix('/').map(str::to_owned));
        let looks: Vec<_> = folders
            .take(most)
            .map(|folder| {
                let look = self.store.clone().has_files(format!("{folder}/{inner}"));
                async move { look.await.map(|has_files| has_files.then_some(folder)) }
            })
            .collect();
        let looks = stream::iter(looks).buffered(REQUESTS).try_collect::<Vec<Option<String>>>();
        Ok(self.driver.run(&self.call, looks)?.into_iter().flatten().collect())
    }

    /// Whether there is a file below a folder.
    ///
    /// # Errors
    /// Those of [`Files`].
    pub fn has_files(&self, folder: &str) -> Result<bool> {
        self.driver.run(&self.call, self.store.clone().has_files(folder.to_owned()))
    }

    /// What a listing would say of a file.
    ///
    /// # Errors
    /// [`SourceNotFound`](pillion::ErrorCode::SourceNotFound).
    pub fn look(&self, path: &str) -> Result<ListedFile> {
        let found = self.driver.run(&self.call, self.store.clone().head(path.to_owned()))?;
        Ok(ListedFile { found })
    }

    /// Files or stretches of them, in this order, each as it is when it is read.
    ///
    /// # Errors
    /// [`SourceNotFound`](pillion::ErrorCode::SourceNotFound).
    pub fn read_all(&self, wanted: Vec<(String, Option<Range<u64>>)>) -> Result<Vec<Bytes>> {
        let reads = wanted.into_iter().map(|(path, range)| self.store.clone().read_whole(path, range));
        let reads: Vec<_> = reads.collect();
        self.driver.run(&self.call, stream::iter(reads).buffered(REQUESTS).try_collect())
    }

    /// Begins to open a Parquet file that has so many bytes. Does not wait.
    ///
    /// # Errors
    /// [`Closed`](pillion::ErrorCode::Closed) at the end of the process.
    pub fn open_parquet(&self, path: &str, bytes: u64) -> Result<OpeningFile> {
        let most = if bytes <= self.store.small_file() { bytes } else { END };
        let end = self.driver.spawn(self.store.clone().read_end(path.to_owned(), bytes, most))?;
        Ok(OpeningFile { files: self.clone(), end })
    }
}

/// A Parquet file that is being opened. Dropping it gives that up.
pub struct OpeningFile {
    files: Files,
    end: Ahead<(Found, Bytes)>,
}

impl OpeningFile {
    /// Waits until the file is open.
    ///
    /// # Errors
    /// [`SourceNotFound`](pillion::ErrorCode::SourceNotFound); [`SourceInvalid`](pillion::ErrorCode::SourceInvalid) for a file of another
    /// length and for one that is not a Parquet file.
    pub fn wait(self, options: ArrowReaderOptions) -> Result<ParquetFile> {
        let Files { store, driver, call } = self.files;
        let (found, bytes) = driver.run(&call, self.end.get())?;
        let start = found.meta.size - bytes.len() as u64;
        let file = SourceFile::new(&store, &driver, &call, &Arc::new(found)).with_held(start, bytes);
        ParquetFile::open(file, options)
    }
}

impl std::fmt::Debug for OpeningFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpeningFile")
    }
}
