//! What several tests need.

#[cfg(feature = "azure")]
pub(crate) mod azure;
#[path = "../../../../tests/rows.rs"]
mod fetched;
pub(crate) mod files;
#[cfg(feature = "gcp")]
pub(crate) mod google;
#[cfg(feature = "http")]
pub(crate) mod http;
pub(crate) mod proxy;
#[path = "../../../../../tests/it/support/report.rs"]
pub(crate) mod report;
#[cfg(feature = "aws")]
pub(crate) mod s3;

use std::path::Path;

use pillion_object_store::{Location, ObjectStoreSource};

pub(crate) use self::fetched::{
    all as try_rows, failure, names_and_types as columns, patient as call, rows, shown,
};

pub(crate) fn local(dir: &Path) -> ObjectStoreSource {
    ObjectStoreSource::new(Location::new(dir.to_str().unwrap())).unwrap()
}

/// The files that the tests have, of kinds that people have.
pub(crate) fn cases() -> ObjectStoreSource {
    local(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files"))
}
