//! Manifests: checkpoints of the catalog. Two are kept; from either of them and the log, the same state follows.

use std::path::Path;

use super::edit::CatalogRecord;
use crate::storage::format::{
    FORMAT_VERSION, MANIFEST_BODY_MAX, MANIFEST_HEADER_LEN, MANIFEST_MAGIC, checksum, u32_at, u64_at,
};
use crate::storage::vfs::Vfs;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::version::Version;

const PREFIX: &str = "manifest-";
/// Name of a manifest until it is complete.
const UNFINISHED: &str = "manifest.tmp";

/// A checkpoint of the catalog.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// The version whose state it is.
    pub(crate) version: Version,
    /// That state.
    pub(crate) catalog: CatalogRecord,
}

impl Manifest {
    /// Writes the manifest and makes it durable.
    ///
    /// # Errors
    /// [`ErrorCode::DiskFull`] or [`ErrorCode::Io`], or [`ErrorCode::InvalidArgument`] for a manifest that is too
    /// large to be read back. The manifests before it are untouched.
    pub(crate) fn write(&self, vfs: &dyn Vfs, dir: &Path) -> Result<()> {
        self.write_within(MANIFEST_BODY_MAX, vfs, dir)
    }

    fn write_within(&self, body_max: usize, vfs: &dyn Vfs, dir: &Path) -> Result<()> {
        let bytes = self.encode(body_max)?;
        let unfinished = dir.join(UNFINISHED);
        let fail = |action: &str, error| Error::io(action, &unfinished, error);
        match vfs.remove(&unfinished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail("remove", error)),
            _ => {}
        }
        let file = vfs.create(&unfinished).map_err(|error| fail("create", error))?;
        file.write_all_at(&bytes, 0).map_err(|error| fail("write", error))?;
        file.sync().map_err(|error| fail("sync", error))?;
        let path = dir.join(format!("{PREFIX}{}", self.version.sequence));
        vfs.rename(&unfinished, &path).map_err(|error| fail("rename", error))?;
        vfs.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))
    }

    /// magic 8 · format version 4 · zero 4 · incarnation 8 · sequence 8 · body length 8 · body checksum 8 ·
    /// zero 8 · checksum of the header 8 · body
    fn encode(&self, body_max: usize) -> Result<Vec<u8>> {
        let body = rmp_serde::to_vec_named(&self.catalog)
            .map_err(|error| Error::internal("cannot encode a manifest").with_source(error))?;
        if body.len() > body_max {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!(
                    "the list of all tables and positions has {} bytes; the limit is {body_max}: drop tables, or forget \
                     positions of sources",
                    body.len()
                ),
            ));
        }
        let mut bytes = vec![0; MANIFEST_HEADER_LEN];
        bytes[..8].copy_from_slice(&MANIFEST_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.version.incarnation.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.version.sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&(body.len() as u64).to_le_bytes());
        bytes[40..48].copy_from_slice(&checksum(&body).to_le_bytes());
        let sum = checksum(&bytes[..56]);
        bytes[56..64].copy_from_slice(&sum.to_le_bytes());
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ErrorCode::NewerFormat`], [`ErrorCode::Corrupt`] or [`ErrorCode::Io`].
    pub(crate) fn read(vfs: &dyn Vfs, path: &Path) -> Result<Self> {
        let bytes = vfs.read(path).map_err(|error| Error::io("read", path, error))?;
        Self::decode(&bytes, path)
    }

    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let damaged = |what| Error::corrupt(path, 0, what);
        if bytes.get(..8) != Some(&MANIFEST_MAGIC[..]) {
            return Err(damaged("not a manifest"));
        }
        match u32_at(bytes, 8) {
            Some(version) if version > FORMAT_VERSION => {
                return Err(crate::storage::log::newer_format(path, version));
            }
            _ => {}
        }
        let header = bytes.get(..MANIFEST_HEADER_LEN).ok_or_else(|| damaged("manifest cut short"))?;
        let field = |offset| u64_at(header, offset).unwrap_or_default();
        if field(56) != checksum(&header[..56]) {
            return Err(damaged("the manifest's header does not match its checksum"));
        }
        let body = &bytes[MANIFEST_HEADER_LEN..];
        if body.len() as u64 != field(32) || body.len() > MANIFEST_BODY_MAX || checksum(body) != field(40) {
            return Err(damaged("the manifest does not match its checksum"));
        }
        let catalog = rmp_serde::from_slice(body)
            .map_err(|error| damaged("manifest not understood").with_source(error))?;
        Ok(Self { version: Version { incarnation: field(16), sequence: field(24) }, catalog })
    }
}

/// Sequences of the manifests in a directory, newest first.
pub(crate) fn list(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<u64>> {
    let names = vfs.list(dir).map_err(|error| Error::io("list", dir, error))?;
    let mut sequences: Vec<u64> =
        names.iter().filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok()).collect();
    sequences.sort_unstable_by(|a, b| b.cmp(a));
    Ok(sequences)
}

/// Path of the manifest of a sequence.
pub(crate) fn path(dir: &Path, sequence: u64) -> std::path::PathBuf {
    dir.join(format!("{PREFIX}{sequence}"))
}

/// The newest manifest that is whole. Skips a damaged one with a warning: the one before it and the log give the same
/// state.
///
/// # Errors
/// [`ErrorCode::NotACache`] if there is none; [`ErrorCode::NewerFormat`]; [`ErrorCode::Corrupt`] if all are damaged.
pub(crate) fn newest(vfs: &dyn Vfs, dir: &Path) -> Result<Manifest> {
    let mut damage = None;
    for sequence in list(vfs, dir)? {
        match Manifest::read(vfs, &path(dir, sequence)) {
            Ok(manifest) => return Ok(manifest),
            Err(error) if error.code() == ErrorCode::NewerFormat => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "skipping a damaged manifest");
                damage = damage.or(Some(error));
            }
        }
    }
    Err(damage.unwrap_or_else(|| {
        Error::new(ErrorCode::NotACache, format!("{} holds no cache: it has no manifest", dir.display()))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::vfs::OsVfs;

    #[test]
    fn a_manifest_that_nobody_could_read_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let write = |sequence, len: usize| {
            let positions = [("source".to_owned(), vec![0; len].into())].into();
            let catalog = CatalogRecord { positions, ..CatalogRecord::default() };
            let version = Version { incarnation: 1, sequence };
            Manifest { version, catalog }.write_within(1000, &OsVfs, dir.path())
        };
        write(1, 100).unwrap();
        assert_eq!(write(2, 1000).unwrap_err().code(), ErrorCode::InvalidArgument);
        assert_eq!(OsVfs.list(dir.path()).unwrap(), ["manifest-1"]);
        assert_eq!(newest(&OsVfs, dir.path()).unwrap().version.sequence, 1);
    }
}
