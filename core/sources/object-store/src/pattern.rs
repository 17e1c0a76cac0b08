//! Which files a relation names.

use glob::MatchOptions;
use pillion::{Error, ErrorCode, Result};

const WILDCARDS: [char; 3] = ['*', '?', '['];
/// Files below a folder, when the relation names the folder.
const ALL_BELOW: &str = "**/*";

/// A path below the root of a source, or a pattern of paths.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    /// The folders before the first wildcard.
    folder: String,
    /// `None`: the text is a path.
    glob: Option<glob::Pattern>,
}

impl Pattern {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`].
    pub(crate) fn new(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            Err(Error::new(ErrorCode::InvalidArgument, format!("`{text}` is not a pattern of files: {why}")))
        };
        let mut path = text;
        while let Some(rest) = path.strip_prefix("./").or_else(|| path.strip_prefix('/')) {
            path = rest;
        }
        if path.split('/').any(|part| part == "..") {
            return invalid("it leaves the folder of the source");
        }
        let mut path = if path == "." { String::new() } else { path.to_owned() };
        if path.is_empty() || path.ends_with('/') {
            path.push_str(ALL_BELOW);
        }
        if path.split('/').any(str::is_empty) {
            return invalid("it has an empty part");
        }
        let literal = path.split('/').take_while(|part| !part.contains(WILDCARDS));
        let folder: Vec<&str> = literal.collect();
        if folder.len() == path.split('/').count() {
            return Ok(Self { text: path, folder: String::new(), glob: None });
        }
        match glob::Pattern::new(&path) {
            Ok(glob) => Ok(Self { folder: folder.join("/"), glob: Some(glob), text: path }),
            Err(error) => invalid(error.msg),
        }
    }

    /// The path, if it is not a pattern.
    pub(crate) fn path(&self) -> Option<&str> {
        self.glob.is_none().then_some(&self.text)
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The folder that contains all files of the pattern.
    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }

    /// Whether a path is one of the pattern. Wildcards do not match names that begin with `.` or `_`, which programs give to
    /// files that are not data, unless the pattern has a name that begins so.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let Some(glob) = &self.glob else { return path == self.text };
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        let is_named = |first: char| self.text.split('/').any(|part| part.starts_with(first));
        let is_hidden = |part: &str| match part.chars().next() {
            Some(first @ '.') => !is_named(first),
            // A column's name may begin so: `_part=1`.
            Some(first @ '_') => !part.contains('=') && !is_named(first),
            _ => false,
        };
        glob.matches_with(path, options) && !path.split('/').any(is_hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(path)
    }

    #[test]
    fn a_star_stays_in_its_folder_and_two_do_not() {
        assert!(matches("flights/*.parquet", "flights/a.parquet"));
        assert!(!matches("flights/*.parquet", "flights/x/a.parquet"));
        assert!(matches("flights/**/*.parquet", "flights/a.parquet"));
        assert!(matches("flights/**/*.parquet", "flights/x/y/a.parquet"));
        assert!(matches("year=20[12]?/x.csv", "year=2013/x.csv"));
        assert!(!matches("year=20[12]?/x.csv", "year=2033/x.csv"));
        assert!(matches("a[[]1].csv", "a[1].csv"));
        assert!(matches("a.csv", "a.csv") && !matches("a.csv", "b/a.csv"));
    }

    #[test]
    fn a_folder_means_all_files_below_it() {
        for folder in ["flights/", "/flights/", "./flights/"] {
            assert!(matches(folder, "flights/x/a.parquet") && matches(folder, "flights/a.parquet"));
            assert!(!matches(folder, "other/a.parquet"));
            assert_eq!(Pattern::new(folder).unwrap().folder(), "flights");
        }
        assert!(matches("", "a.csv") && matches(".", "b/a.csv") && matches("/", "a.csv"));
    }

    #[test]
    fn files_that_are_not_data_are_named_to_be_read() {
        assert!(
            !matches("**/*", "_SUCCESS") && !matches("**/*", "x/.a.crc") && !matches("**/*", "_tmp/a.csv")
        );
        assert!(
            matches("**/*", "_part=1/a.csv") && matches("_tmp/*.csv", "_tmp/a.csv") && matches("**/.*", ".a")
        );
    }

    #[test]
    fn what_is_not_a_pattern_is_refused() {
        for text in ["../a", "a/../b", "a//b", "a/[b", "***"] {
            assert_eq!(Pattern::new(text).unwrap_err().code(), ErrorCode::InvalidArgument, "{text}");
        }
    }
}
