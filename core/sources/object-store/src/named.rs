//! Reads of files whose names somebody knows: without a listing before them.

use std::ops::Range;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
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

    /// Files in a folder, and not in folders of it, whose names come after another one, in the order of their names; none if the folder is
    /// not there.
    ///
    /// # Errors
    /// Those of reaching the store.
    pub(crate) async fn list_after(self, folder: String, after: String) -> Result<Vec<Found>> {
        let (below, offset) = (self.location(&folder)?, self.location(&after)?);
        let is_wanted = |meta: &ObjectMeta| meta.location > offset && is_in(&below, &meta.location);
        // The library has no listing with both. A disk reads all names anyway, and on a network names before the offset are the most.
        let listed = if self.is_on_disk() || offset == below {
            self.opened.store.list_with_delimiter(Some(&below)).await.map(|listed| listed.objects)
        } else {
            let listed = self.opened.store.list_with_offset(Some(&below), &offset);
            listed.try_filter(|meta| std::future::ready(is_wanted(meta))).try_collect().await
        };
        let listed: Vec<ObjectMeta> = match listed {
            Ok(listed) => listed,
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(self.list_error(&folder, &error)),
        };
        let wanted = listed.into_iter().filter(is_wanted);
        let mut files: Vec<Found> =
            wanted.filter_map(|meta| Some(Found { path: self.below_root(&meta.location)?, meta })).collect();
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

/// Whether a file is in a folder, and not in one below it.
fn is_in(folder: &Path, file: &Path) -> bool {
    file.prefix_match(folder).is_some_and(|parts| parts.count() == 1)
}

#[cfg(test)]
mod tests {
    use pillion::source::Call;

    use crate::{Folder, Location};

    #[test]
    fn only_files_of_the_folder_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("log/_parts")).unwrap();
        for name in ["log/1.json", "log/2.json", "log/_last", "log/_parts/3.json", "logs.json"] {
            std::fs::File::create(dir.path().join(name)).unwrap();
        }
        let folder = Folder::new(Location::new(dir.path().to_str().unwrap())).unwrap();
        let files = folder.files(&Call::new()).unwrap();
        let names = |folder: &str, after: &str| {
            let listed = files.list_after(folder, after).unwrap();
            listed.iter().map(|file| file.path().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("log", "log"), ["log/1.json", "log/2.json", "log/_last"]);
        assert_eq!(names("log", "log/1~"), ["log/2.json", "log/_last"]);
        assert_eq!(names("log", "log/2.json"), ["log/_last"], "the name itself does not come after it");
        assert_eq!(names("", ""), ["logs.json"]);
        assert!(names("none", "none").is_empty());
    }

    #[test]
    fn only_so_many_folders_are_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            std::fs::create_dir_all(dir.path().join(name).join("log")).unwrap();
            std::fs::File::create(dir.path().join(name).join("log/1.json")).unwrap();
        }
        let folder = Folder::new(Location::new(dir.path().to_str().unwrap())).unwrap();
        let files = folder.files(&Call::new()).unwrap();
        assert_eq!(files.folders_with("log", 2).unwrap(), ["a", "b"]);
        assert_eq!(files.folders_with("log", 9).unwrap(), ["a", "b", "c"]);
    }
}
