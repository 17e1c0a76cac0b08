//! The files of a cache, listed and damaged behind its back.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Every file below a directory, in order.
pub(crate) fn below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// The segment files of a cache.
pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    below(&dir.join("tables"))
}

/// The log files of a cache, oldest first.
pub(crate) fn logs(dir: &Path) -> Vec<PathBuf> {
    numbered(below(&dir.join("log")), |name| name.strip_suffix(".log"))
}

/// The manifests of a cache, oldest first.
pub(crate) fn manifests(dir: &Path) -> Vec<PathBuf> {
    let files = below(dir).into_iter().filter(|path| path.parent() == Some(dir)).collect();
    numbered(files, |name| name.strip_prefix("manifest-"))
}

fn numbered(files: Vec<PathBuf>, number: impl Fn(&str) -> Option<&str>) -> Vec<PathBuf> {
    let number = |path: &PathBuf| number(path.file_name()?.to_str()?)?.parse::<u64>().ok();
    let mut files: Vec<(u64, PathBuf)> =
        files.into_iter().filter_map(|path| Some((number(&path)?, path))).collect();
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}

/// Fails if a load left anything in the folder of temporary files.
#[track_caller]
pub(crate) fn assert_no_temporary_files(dir: &Path) {
    let left = below(&dir.join("tmp"));
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// Writes a file anew.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    // A new file, as a cache may have mapped the old one, and mapped bytes must not change.
    let _ = fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// Changes bytes of a file in place.
pub(crate) fn patch(path: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

/// Flips one bit of a file in place; flipping it again repairs it.
pub(crate) fn flip(path: &Path, bit: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << (bit % 8))], bit / 8).unwrap();
}

/// Copies a directory with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    for path in below(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&path, &target).unwrap();
    }
}
