//! The plan of the house: which folder may use which, what the crate depends on, and a map of the code that names every
//! file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders and files of `core/src`, from the roof down. Code may use what is on its own line or on one below.
const TOWER: &[&[&str]] = &[
    &["lib"],
    &["open", "url"],
    &["api"],
    &["remote"],
    &["serve"],
    &["wire"],
    &["refresh"],
    &["way"],
    &["query"],
    &["coverage"],
    &["answer"],
    &["input"],
    &["source"],
    &["storage"],
    &["types"],
    &["blocking"],
];

/// What `core` may depend on: no client of an upstream, and no library of an endpoint. Anything optional and heavy
/// becomes a crate of its own.
const DEPENDENCIES: &[&str] = &[
    "arc-swap",
    "arrow",
    "arrow-ipc",
    "async-trait",
    "bytes",
    "chrono",
    "chrono-tz",
    "croner",
    "csv-core",
    "datafusion",
    "flatbuffers",
    "flate2",
    "futures",
    "futures-timer",
    "getrandom",
    "glob",
    "memmap2",
    "parking_lot",
    "parquet",
    "pillion-ipc",
    "pollster",
    "quick_cache",
    "rmp-serde",
    "rustix",
    "serde",
    "serde_bytes",
    "serde_json",
    "smallvec",
    "stacker",
    "strsim",
    "tokio",
    "tracing",
    "xxhash-rust",
    "zstd",
];

fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of Rust below a folder, in order.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The path of a module, such as `storage/log/reader` or `storage/log`.
fn module_of(src: &Path, file: &Path) -> String {
    let path = file.strip_prefix(src).unwrap().with_extension("");
    let path = path.to_str().unwrap();
    path.strip_suffix("/mod").unwrap_or(path).to_owned()
}

/// Lines of a file that are compiled for users: without comments, and without items under `#[cfg(test)]` and
/// `#[cfg(fuzzing)]`. Adds the modules that such items declare to `unshipped`.
fn shipped_lines<'a>(module: &str, text: &'a str, unshipped: &mut BTreeSet<String>) -> Vec<(usize, &'a str)> {
    let mut lines = Vec::new();
    let mut numbered = text.lines().enumerate();
    while let Some((number, line)) = numbered.next() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("//") {
            continue;
        }
        if !matches!(trimmed, "#[cfg(test)]" | "#[cfg(fuzzing)]") {
            lines.push((number + 1, line));
            continue;
        }
        // Skips the item that the attribute belongs to: one line, or all lines up to the closing brace at its own
        // depth.
        let indent = &line[..line.len() - trimmed.len()];
        let mut items = numbered.by_ref().skip_while(|(_, line)| line.trim_start().starts_with('#'));
        let Some((_, item)) = items.next() else { break };
        if item.trim_end().ends_with(';') {
            let name = item.trim().trim_end_matches(';').rsplit(' ').next().unwrap_or_default();
            if item.contains("mod ") {
                let parent = if module == "lib" { String::new() } else { format!("{module}/") };
                unshipped.insert(format!("{parent}{name}"));
            }
            continue;
        }
        let end = format!("{indent}}}");
        if item.trim_end().ends_with('{') {
            let _ = items.find(|(_, line)| *line == end);
        }
    }
    lines
}

/// The first names of all paths in a line that begin at the crate: `use crate::types::error` gives `types`.
fn names_from_crate(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, found)| {
        let rest = &line[at + found.len()..];
        let end = rest.find(|character: char| !character.is_alphanumeric() && character != '_');
        // A list of names in the root has no single name, and so no floor: it counts as the roof.
        if rest.starts_with('{') { "{" } else { &rest[..end.unwrap_or(rest.len())] }
    })
}

fn floor_of(name: &str) -> Option<usize> {
    TOWER.iter().position(|floor| floor.contains(&name))
}

#[test]
fn arrows_point_down_only() {
    let src = crate_dir().join("src");
    let mut unshipped = BTreeSet::new();
    let mut found = Vec::new();
    for file in rust_files(&src) {
        let module = module_of(&src, &file);
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in shipped_lines(&module, &text, &mut unshipped) {
            for name in names_from_crate(line) {
                found.push((module.clone(), number, name.to_owned()));
            }
        }
    }
    let is_unshipped = |module: &str| {
        unshipped.iter().any(|root| {
            module.strip_prefix(root.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let (mut arrows, mut upward) = (BTreeSet::new(), Vec::new());
    for (module, number, name) in &found {
        let from = module.split('/').next().unwrap();
        if is_unshipped(module) || from == name {
            continue;
        }
        let Some(from_floor) = floor_of(from) else { panic!("`core/src/{from}` has no place in the tower") };
        // A name in the crate's root belongs to the public interface.
        let to_floor = floor_of(name).unwrap_or(0);
        if to_floor < from_floor {
            upward.push(format!("core/src/{module}.rs:{number} uses crate::{name}"));
        }
        arrows.insert(format!("{from} -> {name}"));
    }
    assert!(upward.is_empty(), "arrows that point up:\n{}", upward.join("\n"));
    assert!(arrows.len() > 30, "the test finds the arrows: {arrows:?}");
    println!(
        "{} arrows between folders, all down: {}",
        arrows.len(),
        arrows.into_iter().collect::<Vec<_>>().join(", ")
    );
}

#[test]
fn every_dependency_is_one_that_was_decided_on() {
    let manifest = fs::read_to_string(crate_dir().join("Cargo.toml")).unwrap();
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let names: Vec<&str> = section
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split(['.', ' ', '=']).next().unwrap())
        .collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, DEPENDENCIES, "a new dependency of `core` is decided on in this list");
}

/// The code map of `docs/architecture.md` names every file of these folders, under its folder, and names no file that
/// does not exist.
#[test]
fn the_code_map_names_every_file() {
    let root = crate_dir().parent().unwrap();
    let document = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let map = document.split("\n## Code map\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut listed = BTreeSet::new();
    let mut folder = "";
    for line in map.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, first, _, ..] = cells[..] else { continue };
        let Some(name) = first.strip_prefix('`').and_then(|first| first.strip_suffix('`')) else { continue };
        if name.ends_with('/') {
            folder = name;
            listed.insert(name.to_owned());
        } else {
            listed.insert(format!("{folder}{name}"));
        }
    }
    let mut there = BTreeSet::new();
    for src in [
        "ipc/src",
        "core/src",
        "core/conformance/src",
        "core/sources/connect/src",
        "core/sources/delta/src",
        "core/sources/flight-sql/src",
        "core/sources/mysql/src",
        "core/sources/object-store/src",
        "core/sources/postgres/src",
        "core/sources/sqlite/src",
        "server/access/src",
        "server/door/src",
        "server/flight/src",
        "server/http/src",
        "server/src",
        "bindings/rows/src",
        "bindings/python/src",
        "bindings/adbc/src",
        "bindings/c/src",
        "benches/src",
        "benches/rivals/src",
        "benches/sources/src",
    ] {
        for file in rust_files(&root.join(src)) {
            let path = file.strip_prefix(root).unwrap();
            there.insert(format!("{}/", path.parent().unwrap().display()));
            if path.file_name().is_some_and(|name| name != "mod.rs") {
                there.insert(path.display().to_string());
            }
        }
    }
    let unnamed: Vec<_> = there.difference(&listed).collect();
    assert!(unnamed.is_empty(), "not in the code map of docs/architecture.md: {unnamed:#?}");
    let gone: Vec<_> =
        listed.iter().filter(|name| name.contains("/src/") && !there.contains(*name)).collect();
    assert!(gone.is_empty(), "in the code map of docs/architecture.md and not there: {gone:#?}");
}
