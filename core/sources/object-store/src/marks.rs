//! Digests of files, by which a change is noticed.

use xxhash_rust::xxh3::Xxh3;

use crate::store::Found;

/// Changes when files are read in another way, so that no older mark equals a newer one.
const VERSION: u8 = 1;

/// A digest over names, sizes, tags and times of the last change of files.
pub(crate) fn of<'a>(files: impl IntoIterator<Item = &'a Found>) -> Vec<u8> {
    let mut digest = Xxh3::new();
    digest.update(&[VERSION]);
    for file in files {
        add(&mut digest, file);
    }
    digest.digest128().to_le_bytes().to_vec()
}

/// What is the same only for the same file, read in the same way.
pub(crate) fn of_one(file: &Found, reading: &str) -> u128 {
    let mut digest = Xxh3::new();
    add(&mut digest, file);
    text(&mut digest, Some(reading));
    digest.digest128()
}

fn add(digest: &mut Xxh3, file: &Found) {
    text(digest, Some(&file.path));
    text(digest, file.meta.e_tag.as_deref());
    digest.update(&file.meta.size.to_le_bytes());
    digest.update(&file.meta.last_modified.timestamp_micros().to_le_bytes());
}

/// With its length before it, so that no two lists of texts are alike.
fn text(digest: &mut Xxh3, text: Option<&str>) {
    let len = text.map_or(u64::MAX, |text| text.len() as u64);
    digest.update(&len.to_le_bytes());
    digest.update(text.unwrap_or_default().as_bytes());
}
