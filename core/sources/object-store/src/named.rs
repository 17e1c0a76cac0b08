//! Reads of files whose names somebody knows: without a listing before them.

use std::ops::Range;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use pillion::{Error, ErrorCode, Result};

use crate::store::{Found, Store};

impl Store {
    /// The last bytes of a file of which only name and length are known, up to `most`, with what the file is now.
    ///
    /// # Errors
    /// [`ErrorCode::SourceNotFound`]; [`ErrorCode::SourceInvalid`] for a file of another length; and those of reaching the store.
    pub(crate) async fn read_end(self, path: String, bytes: u64, most: u64) -> Result<(Found, Bytes)> {
        let name = self.name_of(&path);
        let other = |found: u64| {
            let message = format!("`{name}` has {found} bytes, and should have {bytes}");
            Error::new(ErrorCode::SourceInvalid, message)
        };
        let wrong = |error: object_store::Error| self.error(&name, &error);
        let location = self.location(&path)?;
        if bytes == 0 {
            return Err(Error::new(ErrorCode::SourceInvalid, format!("`{name}` is empty")));
        }
        let range = bytes.saturating_sub(most)..bytes;
        let options = GetOptions::new().with_range(Some(GetRange::Bounded(range.clone())));
        let answer = match self.opened.store.get_opts(&location, options).await {
            Ok(answer) => answer,
            Err(error @ object_store::Error::NotFound { .. }) => return Err(wrong(error)),
            // Where a file ends before the range, stores answer in many ways.
            Err(error) => match self.opened.store.head(&location).await {
                Ok(meta) if meta.size != bytes => return Err(other(meta.size)),
                _ => return Err(wrong(error)),
            },
        };
        let meta = answer.meta.clone();
        if meta.size != bytes || answer.range != range {
            return Err(other(meta.size));
        }
        Ok((Found { path, meta }, answer.bytes().await.map_err(wrong)?))
    }

    /// A file as a whole, as it is now.
    ///
    /// # Errors
    /// [`ErrorCode::SourceNotFound`], and those of reaching the store.
    pub(crate) async fn read_whole(self, path: String, range: Option<Range<u64>>) -> Result<Bytes> {
        let name = self.name_of(&path);
        let wrong = |error: object_store::Error| self.error(&name, &error);
        let options = GetOptions::new().with_range(range.map(GetRange::Bounded));
        let answer = self.opened.store.get_opts(&self.location(&path)?, options).await.map_err(wrong)?;
        answer.bytes().await.map_err(wrong)
    }

    /// What is known of a file.
    ///
    /// # Errors
    /// As [`read_whole`](Self::read_whole).
    pub(crate) async fn head(self, path: String) -> Result<Found> {
        let meta = self.opened.store.head(&self.location(&path)?).await;
        let meta = meta.map_err(|error| self.error(&self.name_of(&path), &error))?;
        Ok(Found { path, meta })
    }

    /// Files below a folder whose names come after another one, in the order of their names; none if the folder is not there.
    ///
    /// # Errors
    /// Those of reaching the store.
    pub(crate) async fn list_after(self, folder: String, after: String) -> Result<Vec<Found>> {
        let (below, offset) = (self.location(&folder)?, self.location(&after)?);
        let listed = self.opened.store.list_with_offset(Some(&below), &offset).try_filter_map(|meta| {
            let found = self.below_root(&meta.location).map(|path| Found { path, meta });
            std::future::ready(Ok(found))
        });
        let listed: std::result::Result<Vec<Found>, _> = listed.try_collect().await;
        let mut files = match listed {
            Ok(files) => files,
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(self.list_error(&folder, &error)),
        };
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Whether there is a file below a folder.
    ///
    /// # Errors
    /// Those of reaching the store.
    pub(crate) async fn has_files(self, folder: String) -> Result<bool> {
        let below = self.location(&folder)?;
        match self.opened.store.list(Some(&below)).try_next().await {
            Ok(found) => Ok(found.is_some()),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.list_error(&folder, &error)),
        }
    }
}
