//! Listings and bytes of files for the kernel.

use std::time::SystemTime;

use bytes::Bytes;
use delta_kernel::{FileMeta, FileSlice, KernelResult, KernelResultIteratorStatic, StorageHandler};
use pillion_object_store::ListedFile;
use url::Url;

use super::TableEngine;
use crate::failures::{only_reads, to_kernel};

pub(super) struct Storage(pub(super) TableEngine);

impl StorageHandler for Storage {
    fn list_from(&self, from: &Url) -> KernelResult<KernelResultIteratorStatic<FileMeta>> {
        let TableEngine { files, paths } = &self.0;
        let path = paths.path_of(from).map_err(to_kernel)?;
        let folder = match from.path().ends_with('/') {
            true => path.as_str(),
            false => path.rsplit_once('/').map_or("", |(folder, _)| folder),
        };
        let listed = files.list_after(folder, &path).map_err(to_kernel)?;
        let paths = paths.clone();
        Ok(Box::new(listed.into_iter().map(move |file| Ok(meta_of(paths.file_url(file.path()), &file)))))
    }

    fn read_files(&self, wanted: Vec<FileSlice>) -> KernelResult<KernelResultIteratorStatic<Bytes>> {
        let TableEngine { files, paths } = self.0.clone();
        let read = move |(url, range): FileSlice| {
            let path = paths.path_of(&url).map_err(to_kernel)?;
            let mut read = files.read_all(vec![(path, range)]).map_err(to_kernel)?;
            read.pop().ok_or_else(|| delta_kernel::KernelError::missing_data(url))
        };
        Ok(Box::new(wanted.into_iter().map(read)))
    }

    fn head(&self, url: &Url) -> KernelResult<FileMeta> {
        let path = self.0.paths.path_of(url).map_err(to_kernel)?;
        let file = self.0.files.look(&path).map_err(to_kernel)?;
        Ok(meta_of(url.clone(), &file))
    }

    fn copy_atomic(&self, _: &Url, _: &Url) -> KernelResult<()> {
        Err(only_reads())
    }

    fn put(&self, _: &Url, _: Bytes, _: bool) -> KernelResult<()> {
        Err(only_reads())
    }

    fn delete(&self, _: &Url) -> KernelResult<()> {
        Err(only_reads())
    }
}

fn meta_of(location: Url, file: &ListedFile) -> FileMeta {
    let since = file.modified().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    FileMeta::new(location, i64::try_from(since.as_millis()).unwrap_or(i64::MAX), file.bytes())
}
