//! Rules of the source tree that the compiler does not keep.

use std::fs;
use std::path::{Path, PathBuf};

/// Files that may hold unsafe code, each named in docs/architecture.md.
const UNSAFE_FILES: [&str; 23] = [
    "benches/rivals/src/duckdb/library.rs",
    "benches/rivals/src/lmdb.rs",
    "bindings/c/src/border.rs",
    "bindings/c/src/cache.rs",
    "bindings/c/src/error.rs",
    "bindings/c/src/rows.rs",
    "bindings/c/src/table.rs",
    "bindings/c/src/value.rs",
    "bindings/python/src/arrow_in.rs",
    "bindings/python/src/gil.rs",
    "core/src/storage/fuzzing.rs",
    "core/src/storage/live/follower.rs",
    "core/src/storage/live/words.rs",
    "core/src/storage/log/reader.rs",
    "core/src/storage/mapped/assemble.rs",
    "core/src/storage/mapped/region.rs",
    "core/src/storage/segment/arrays.rs",
    "core/src/storage/vfs/os.rs",
    "core/src/wire/layout/rebuild.rs",
    "core/tests/it/support/fork.rs",
    "ipc/src/arena.rs",
    "ipc/src/descriptors.rs",
    "ipc/src/groups.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Rust file below a folder of the repository, by its path from the root.
fn rust_files(folder: &str) -> Vec<(String, String)> {
    let root = root();
    let mut files = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(&root).unwrap().to_string_lossy().into_owned(), text));
            }
        }
    }
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Whether a word occurs in the code of a file; comments and parts of longer names do not count.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.lines().map(|line| line.split("//").next().unwrap_or(line)).any(|code| {
        code.match_indices(word).any(|(start, _)| {
            !code[..start].ends_with(is_part) && !code[start + word.len()..].starts_with(is_part)
        })
    })
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = rust_files("")
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "files that do not start with `//!`: {silent:?}");
}

#[test]
fn unsafe_code_stands_in_named_files() {
    // The word is put together here, so that this file does not contain it.
    let word = concat!("un", "safe");
    let found: Vec<String> =
        rust_files("").into_iter().filter(|(_, text)| has_word(text, word)).map(|(path, _)| path).collect();
    assert_eq!(found, UNSAFE_FILES, "name the file here and in docs/architecture.md, with its reason");
    let book = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    for path in UNSAFE_FILES {
        assert!(book.contains(path), "docs/architecture.md does not name {path}");
    }
}

#[test]
fn only_queries_name_the_query_engine() {
    for (path, text) in rust_files("core/src") {
        // A feature has its name, and so has the module that exports what the feature is for.
        let text = text.replace(r#"feature = "datafusion""#, "").replace("\npub mod datafusion {\n", "\n");
        if !path.starts_with("core/src/query/") {
            assert!(!has_word(&text, "datafusion"), "{path} names DataFusion");
        }
    }
}

#[test]
fn storage_names_no_runtime() {
    for (path, text) in rust_files("core/src/storage") {
        assert!(!has_word(&text, "tokio"), "{path} names tokio");
    }
}

/// A behaviour that is not in the list never runs.
#[test]
fn every_behaviour_is_in_the_list() {
    let listed: Vec<String> = pillion_conformance::all()
        .map(|behaviour| format!("{}::{}", behaviour.module, behaviour.name))
        .collect();
    let mut unlisted = Vec::new();
    let mut found = 0;
    for (path, text) in rust_files("core/conformance/src") {
        let module = Path::new(&path).file_stem().unwrap().to_string_lossy().into_owned();
        for line in text.lines() {
            let Some((name, parameters)) = line.strip_prefix("pub fn ").and_then(|rest| rest.split_once('('))
            else {
                continue;
            };
            if parameters.ends_with(": &mut Session<'_>) -> Outcome {") && !parameters.contains(',') {
                found += 1;
                let name = format!("{module}::{name}");
                if !listed.contains(&name) {
                    unlisted.push(name);
                }
            }
        }
    }
    assert!(found > 100, "{found} behaviours are written as functions");
    assert!(unlisted.is_empty(), "behaviours that are in no list: {unlisted:?}");
}
