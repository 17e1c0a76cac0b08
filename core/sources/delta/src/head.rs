//! How far the log of a table is: one listing, and no file is read.

use pillion::{Error, ErrorCode, Result};
use pillion_object_store::{Files, ListedFile};

use crate::names::suggestion;
use crate::paths::{LOG, in_folder};

/// Changes when tables are read in another way, so that no older mark equals a newer one.
const MARK: u8 = 1;
/// Digits of a version in the name of a file.
const DIGITS: usize = 20;
/// The most folders that are looked into for a name that an error can suggest.
const HINTS_MAX: usize = 50;

/// A version of a table, and by which bytes it is told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) version: u64,
    pub(crate) mark: Vec<u8>,
}

/// The latest version of a table, or the wanted one. A version that is `known` to have been there spares names of older files.
///
/// # Errors
/// [`ErrorCode::SourceNotFound`] for a folder without a log and for a version that is not there; those of reaching the files.
pub(crate) fn head(files: &Files, table: &str, wanted: Option<u64>, known: Option<u64>) -> Result<Head> {
    let log = in_folder(table, LOG);
    let since = |version: u64| {
        let after =
            version.checked_sub(1).map_or_else(|| log.clone(), |before| format!("{log}/{before:0DIGITS$}~"));
        files.list_after(&log, &after)
    };
    let mut listed = match wanted.or(known) {
        Some(version) => since(version)?,
        None => Vec::new(),
    };
    let mut found = newest(&log, &listed, wanted);
    if found.is_none() {
        // A table that was made anew, or whose versions are others than somebody thinks.
        listed = since(0)?;
        found = newest(&log, &listed, wanted);
    }
    match found {
        Some((version, commit)) => {
            Ok(Head { version, mark: mark(version, commit.map_or(0, ListedFile::stamp)) })
        }
        None => Err(missing(files, table, &log, &listed, wanted)),
    }
}

/// The highest version of which there is a commit or a checkpoint, or the wanted one, with its commit.
fn newest<'a>(
    log: &str,
    listed: &'a [ListedFile],
    wanted: Option<u64>,
) -> Option<(u64, Option<&'a ListedFile>)> {
    let versions = listed.iter().filter_map(|file| Some((version_of(log, file.path())?, file)));
    let versions = versions.filter(|((version, _), _)| wanted.is_none_or(|wanted| wanted == *version));
    let highest = versions.clone().map(|((version, _), _)| version).max()?;
    let commit = versions.clone().find(|(of, _)| *of == (highest, true)).map(|(_, file)| file);
    Some((highest, commit))
}

/// The version that a file in the folder of a log is of, and whether it is its commit rather than a checkpoint.
fn version_of(log: &str, path: &str) -> Option<(u64, bool)> {
    let name = path.strip_prefix(log)?.strip_prefix('/')?;
    let (digits, rest) = name.split_at_checked(DIGITS)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || name.contains('/') {
        return None;
    }
    let is_checkpoint =
        rest.starts_with(".checkpoint.") && (rest.ends_with(".parquet") || rest.ends_with(".json"));
    (rest == ".json" || is_checkpoint).then_some((digits.parse().ok()?, rest == ".json"))
}

/// A table that was made anew has the same versions, and other commits.
fn mark(version: u64, stamp: u128) -> Vec<u8> {
    let mut mark = vec![MARK];
    mark.extend(version.to_le_bytes());
    mark.extend(stamp.to_le_bytes());
    mark
}

fn missing(files: &Files, table: &str, log: &str, listed: &[ListedFile], wanted: Option<u64>) -> Error {
    let shown = files.name_of(table);
    let shown = shown.trim_end_matches('/');
    let versions = listed.iter().filter_map(|file| version_of(log, file.path())).map(|(version, _)| version);
    if let (Some(wanted), Some(first), Some(last)) = (wanted, versions.clone().min(), versions.max()) {
        let message = format!("`{shown}` has no version {wanted}: its log has versions {first} to {last}");
        return Error::new(ErrorCode::SourceNotFound, message);
    }
    // Only a hint: whoever may not list other folders gets none.
    let tables = files.folders_with(LOG, HINTS_MAX).unwrap_or_default();
    let near = suggestion(table, tables.iter().map(String::as_str));
    let message = format!("`{shown}` is not a Delta table: it has no commits in `{LOG}`{near}");
    Error::new(ErrorCode::SourceNotFound, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_log_have_versions() {
        let of = |name: &str| version_of("t/_delta_log", &format!("t/_delta_log/{name}"));
        assert_eq!(of("00000000000000000012.json"), Some((12, true)));
        assert_eq!(of("00000000000000000010.checkpoint.parquet"), Some((10, false)));
        assert_eq!(of("00000000000000000010.checkpoint.0000000001.0000000002.parquet"), Some((10, false)));
        assert_eq!(
            of("00000000000000000010.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json"),
            Some((10, false))
        );
        for other in [
            "_last_checkpoint",
            "_sidecars/00000000000000000010.json",
            "00000000000000000010.00000000000000000012.compacted.json",
            "00000000000000000010.crc",
            "+0000000000000000010.json",
            "12.json",
            ".00000000000000000010.json.crc",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
