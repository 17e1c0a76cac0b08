//! Errors name the probable intent, say what to do, and have an exit code that a script can use.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Dir, Outcome, items, write_parquet};

#[test]
fn help_is_on_standard_output_and_lists_the_exit_codes() {
    let dir = Dir::empty();
    let help = dir.answer(&["--help"]);
    for text in ["sql", "status", "export", "load", "serve", "config", "PILLION_URL", "Exit codes:"] {
        assert!(help.contains(text), "{text}");
    }
    for code in 0..=5 {
        assert!(help.contains(&format!("\n  {code}  ")), "exit code {code}");
    }
    for command in ["sql", "status", "export", "load", "serve"] {
        assert!(dir.answer(&[command, "--help"]).contains("Examples:"), "{command}");
    }
    assert_eq!(dir.answer(&["--version"]), concat!("pillion ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_wrong_command_line_names_what_was_meant() {
    let dir = Dir::new();
    dir.run(&["exprot"]).fails(2, &["'exprot'", "'export'"]);
    dir.run(&["sql", "--fromat", "csv", "SELECT 1"]).fails(2, &["'--fromat'", "'--format'"]);
    dir.run(&["sql", "--format", "cvs", "SELECT 1"]).fails(2, &["'cvs'", "similar value exists: 'csv'"]);
    dir.run(&["status", "--format", "jsn"]).fails(2, &["'jsn'", "similar value exists: 'json'"]);
    dir.run(&["export", "items", "--output", "a.parqet"]).fails(2, &["a.parqet", "did you mean `.parquet`?"]);
    dir.run(&["export", "items", "--output", "a"]).fails(2, &["known are .txt, .csv", "--format"]);
    dir.run(&["load", "new", "a.csv", "--append", "--replace"]).fails(2, &["--append", "--replace"]);
    assert_eq!(dir.run(&[]).code, 2);
    assert_eq!(dir.files(), [""; 0], "nothing was written");
}

#[test]
fn a_cache_must_be_named() {
    let dir = Dir::empty();
    let run = |arguments: &[&str], url: Option<&str>| {
        let mut command = dir.command(arguments);
        command.env_remove("PILLION_URL");
        if let Some(url) = url {
            command.env("PILLION_URL", url);
        }
        Outcome::of(&mut command, "")
    };
    run(&["status"], None).fails(2, &["which cache?", "--url", "PILLION_URL"]);
    run(&["status"], Some("")).fails(2, &["which cache?"]);
    run(&["status", "--url", "fiel:somewhere"], None).fails(2, &["`fiel`", "did you mean `file`?"]);
    run(&["status", "--url", "cache?mod=ro"], None).fails(2, &["`mod=ro`", "did you mean `mode`?"]);
    drop(dir.open());
    assert_eq!(
        run(&["status", "--url", "cache"], Some("elsewhere")).code,
        0,
        "the option goes before the variable"
    );
    let url = format!("file:{}", dir.cache().display());
    assert_eq!(run(&["status"], Some(&url)).code, 0);
    assert_eq!(run(&["status"], Some(&format!("{url}?mode=ro"))).code, 0);
}

#[test]
fn what_is_not_there_is_exit_code_3_and_nothing_is_created() {
    let dir = Dir::empty();
    dir.run(&["sql", "SELECT 1"]).fails(3, &["hint: ", "pillion load"]);
    dir.run(&["status"]).fails(3, &[]);
    assert!(!dir.cache().exists());

    let dir = Dir::new();
    dir.run(&["sql", "SELECT * FROM itms"]).fails(3, &["`itms`", "did you mean `items`?", "pillion status"]);
    dir.run(&["export", "itms", "--output", "a.csv"]).fails(3, &["did you mean `items`?"]);
    dir.run(&["export", "items", "--output", "no/such/folder/a.csv"])
        .fails(3, &["no/such/folder", "No such file"]);
    assert_eq!(dir.files(), [""; 0]);
}

#[test]
fn a_wrong_query_is_exit_code_1() {
    let dir = Dir::new();
    dir.run(&["sql", "SELECT nmae FROM items"]).fails(1, &["nmae", "Did you mean 'items.name'?"]);
    dir.run(&["sql", "SELEC 1"]).fails(1, &["SELEC"]);
    dir.run(&["sql", "DROP VIEW items"]).fails(1, &["DROP VIEW is not supported"]);
    dir.run(&["sql", "UPDATE items SET id = 1"]).fails(1, &["primary key"]);
    dir.run(&["sql", "SELECT 1 / (id - id) FROM items"]).fails(1, &["zero"]);
    dir.run(&["sql", "SELECT $1 + 1"]).fails(1, &["parameter", "--param"]);
    dir.run(&["sql", "--param", "x", "SELECT * FROM items WHERE id = $1"]).fails(1, &["$1"]);
}

#[test]
fn a_cache_with_an_owner_is_exit_code_4_for_who_would_write() {
    let dir = Dir::new();
    write_parquet(&dir.path("a.parquet"), &items());
    let owner = dir.open();
    dir.run(&["load", "more", "a.parquet"]).fails(4, &["hint: ", "try again later"]);
    assert_eq!(dir.answer(&["sql", "--format", "csv", "SELECT count(*) AS n FROM items"]), "n\n5\n");
    owner.close().unwrap();
    drop(owner);
    assert_eq!(dir.run(&["load", "more", "a.parquet"]).code, 0);
}

#[test]
fn a_damaged_page_is_exit_code_5() {
    let dir = Dir::new();
    assert!(damage(&dir.cache().join("tables"), b"a comma") > 0);
    dir.run(&["sql", "SELECT * FROM items"]).fails(5, &["hint: ", "pillion load"]);
    dir.run(&["export", "items", "--output", "a.csv"]).fails(5, &[]);
    assert_eq!(dir.files(), [""; 0], "no part of a table stays");
}

#[test]
fn status_says_what_was_found_damaged() {
    let dir = Dir::new();
    let owner = dir.open();
    for name in ["first_more", "second_more"] {
        owner.define_table(name, pillion::TableDefinition::new(items())).unwrap();
    }
    // The log of a cache that was not closed: its first new commit is damaged, the second is whole.
    copy(&dir.cache(), &dir.path("copy"));
    assert!(damage(&dir.path("copy/log"), b"first_more") > 0);
    let status = dir.run(&["status", "--url", "copy"]);
    status.fails(5, &["damage", "left out", "hint: "]);
    assert!(status.text().contains("damage     "), "{}", status.text());
    assert!(!status.text().contains("none found"), "{}", status.text());
    let status = dir.run(&["status", "--url", "copy", "--format", "json"]);
    assert_eq!(status.code, 5);
    let json: serde_json::Value = serde_json::from_str(status.text()).unwrap();
    assert!(json["damage"].as_str().unwrap().contains("damaged"), "{json}");
}

/// Changes a letter of every occurrence of `text` in the files below `dir` and returns how many there were.
fn damage(dir: &Path, text: &[u8]) -> usize {
    let mut found = 0;
    for path in files(dir) {
        let mut bytes = fs::read(&path).unwrap();
        let before = found;
        for start in 0..=bytes.len().saturating_sub(text.len()) {
            if bytes[start..].starts_with(text) {
                bytes[start] ^= 1;
                found += 1;
            }
        }
        if found > before {
            fs::remove_file(&path).unwrap();
            std::io::Write::write_all(&mut fs::File::create(&path).unwrap(), &bytes).unwrap();
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&path, target).unwrap();
    }
}

/// All files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
