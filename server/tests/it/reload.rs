//! A changed configuration is taken in while the sidecar runs: whole, or not at all.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::process::Signal;

use crate::probes::{HEALTH, get, get_until};
use crate::sidecar::{Sidecar, config, url};
use crate::support::{Dir, items, write_parquet};

const ITEMS: &str = "[tables.items]\nfiles = \"items.parquet\"\nprimary_key = [\"id\"]\n";
const LETTERS: &str = "[tables.letters]\nfiles = \"letters.csv\"\nprimary_key = [\"x\"]\n";
const TAKEN_IN: &str = "the configuration was taken in";
const REFUSED: &str = "everything stays as it was";

fn files() -> Dir {
    let dir = Dir::empty();
    write_parquet(&dir.path("items.parquet"), &items());
    dir.write("letters.csv", "x,y\n1,one\n2,two\n");
    dir
}

/// Writes the configuration and asks the sidecar to read it.
fn reload(sidecar: &Sidecar, dir: &Dir, text: &str) {
    dir.write("pillion.toml", config(text));
    sidecar.signal(Signal::HUP);
}

/// The answer to a query, or why there is none.
fn ask(dir: &Dir, query: &str) -> String {
    let outcome = dir.run(&["sql", "--url", &url(dir), "--format", "csv", query]);
    if outcome.code == 0 { outcome.text().to_owned() } else { outcome.errors }
}

#[test]
fn a_new_table_is_there_after_a_reload_and_old_ones_are_untouched() {
    let dir = files();
    let sidecar = Sidecar::ready(&dir, &config(ITEMS));
    assert!(ask(&dir, "SELECT * FROM letters").contains("there is no table `letters`"));
    reload(&sidecar, &dir, &format!("log = \"debug\"\n{ITEMS}{LETTERS}"));
    sidecar.says(TAKEN_IN);
    sidecar.says("table loaded table=\"letters\" rows=2");
    assert_eq!(ask(&dir, "SELECT y FROM letters ORDER BY x"), "y\none\ntwo\n");
    assert_eq!(ask(&dir, "SELECT count(*) AS n FROM items"), "n\n5\n");
    sidecar.says("connected");
    // The level of the log goes back, and a table that is not named any more is kept.
    reload(&sidecar, &dir, &format!("log = \"warn\"\n{ITEMS}"));
    sidecar.signal(Signal::TERM);
    let (status, log) = sidecar.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("table loaded table=\"items\"").count(), 1, "{log}");
}

/// As Kubernetes changes the files of a ConfigMap: a symbolic link is moved to another folder.
#[test]
fn a_link_that_is_moved_to_another_file_is_noticed() {
    let dir = files();
    let text = |more: &str| {
        let root = dir.path("");
        let root = root.display();
        let tables = format!("{ITEMS}{more}").replace("files = \"", &format!("files = \"{root}/"));
        format!("dir = \"{root}/cache\"\nsocket = \"{root}/run/pillion.sock\"\n{tables}")
    };
    for (folder, more) in [("v1", ""), ("v2", LETTERS)] {
        fs::create_dir(dir.path(folder)).unwrap();
        dir.write(&format!("{folder}/pillion.toml"), text(more));
    }
    symlink("v1", dir.path("data")).unwrap();
    symlink("data/pillion.toml", dir.path("pillion.toml")).unwrap();
    let path = dir.path("pillion.toml");
    let sidecar = Sidecar::spawn(&mut dir.command(&["serve", "--config", path.to_str().unwrap()]));
    sidecar.says(" ready ");
    symlink("v2", dir.path("next")).unwrap();
    fs::rename(dir.path("next"), dir.path("data")).unwrap();
    sidecar.says("the file of the configuration changed");
    sidecar.says("table loaded table=\"letters\" rows=2");
    assert_eq!(ask(&dir, "SELECT count(*) AS n FROM letters"), "n\n2\n");
    sidecar.end();
}

#[test]
fn a_wrong_configuration_changes_nothing_and_is_refused_as_config_check_does() {
    let dir = files();
    let sidecar = Sidecar::ready(&dir, &config(&format!("{HEALTH}{ITEMS}")));
    let mut refused = 0;
    for (text, complaint) in [
        (format!("{HEALTH}{ITEMS}{LETTERS}prymary_key = []\n"), "did you mean `primary_key`?"),
        (format!("{HEALTH}{ITEMS}{LETTERS}[tables.none]\nfiles = \"none.csv\"\n"), "none.csv"),
        (
            format!("{HEALTH}{LETTERS}[tables.items]\nfiles = \"items.parquet\"\n"),
            "table `items` is there with",
        ),
        (format!("{HEALTH}{LETTERS}[sources.a]\nurl = \"ftp://a\"\n"), "unknown scheme"),
    ] {
        reload(&sidecar, &dir, &text);
        refused += 1;
        let counted = format!("pillion_configuration_reloads_total{{outcome=\"refused\"}} {refused}");
        get_until(&sidecar, "/metrics", |it| it.body.contains(&counted));
        let path = dir.path("pillion.toml");
        let check = dir.run(&["config", "check", "--config", path.to_str().unwrap()]);
        assert!(check.code != 0 && check.errors.contains(complaint), "{check:?}");
        let log = sidecar.log();
        let line = log.lines().rfind(|line| line.contains(REFUSED)).unwrap();
        assert!(line.contains(complaint.trim_end_matches('?')), "{line}");
        let answer = ask(&dir, "SELECT * FROM letters");
        assert!(answer.contains("there is no table `letters`"), "not even what was right of it: {answer}");
        assert_eq!(ask(&dir, "SELECT count(*) AS n FROM items"), "n\n5\n");
        assert_eq!(get(&sidecar, "/health/ready").code, 200, "the old configuration holds");
    }
    let log = sidecar.end();
    assert_eq!(log.matches(REFUSED).count(), 4, "{log}");
}

#[test]
fn a_source_that_changes_feeds_its_tables_anew() {
    let dir = files();
    for (folder, row) in [("one", "1,one"), ("two", "2,two")] {
        fs::create_dir(dir.path(folder)).unwrap();
        dir.write(&format!("{folder}/a.csv"), format!("x,y\n{row}\n"));
    }
    let fed = |folder: &str| {
        format!(
            "[sources.inbox]\nurl = \"./{folder}\"\n[tables.landed]\nsource = \"inbox\"\nrelation = \"a.csv\"\n\
             primary_key = [\"x\"]\ninterval = \"1 h\"\n"
        )
    };
    let sidecar = Sidecar::ready(&dir, &config(&format!("{HEALTH}{}", fed("one"))));
    get_until(&sidecar, "/health/ready", |it| it.code == 200);
    assert_eq!(ask(&dir, "SELECT y FROM landed"), "y\none\n");
    reload(&sidecar, &dir, &format!("{HEALTH}{}", fed("two")));
    sidecar.says("source changed");
    let two = "pillion_refreshes_total{table=\"landed\",outcome=\"succeeded\"} 2";
    get_until(&sidecar, "/metrics", |it| it.body.contains(two));
    assert_eq!(ask(&dir, "SELECT y FROM landed"), "y\ntwo\n");
    // Without the table nothing refreshes it, and its rows stay.
    reload(&sidecar, &dir, &format!("{HEALTH}{ITEMS}"));
    sidecar.says("table kept, and refreshed no longer table=\"landed\"");
    assert_eq!(ask(&dir, "SELECT y FROM landed"), "y\ntwo\n");
    let status = dir.answer(&["status", "--url", &url(&dir)]);
    assert!(!status.contains("inbox"), "{status}");
    // With it, it is followed again.
    reload(&sidecar, &dir, &format!("{HEALTH}{ITEMS}{}", fed("one")));
    get_until(&sidecar, "/metrics", |it| {
        it.body.contains("pillion_refreshes_total{table=\"landed\",outcome=\"succeeded\"} 1\n")
    });
    assert_eq!(ask(&dir, "SELECT y FROM landed"), "y\none\n");
    sidecar.end();
}

#[test]
fn what_needs_a_restart_is_said_and_the_rest_holds() {
    let dir = files();
    let me = rustix::process::geteuid().as_raw();
    let sidecar = Sidecar::ready(&dir, &config(ITEMS));
    let others = format!("[access]\nallow_uids = [{}]\n", me + 1);
    reload(&sidecar, &dir, &format!("query_memory = \"64 MiB\"\ndisk_limit = \"1 MiB\"\n{ITEMS}{others}"));
    sidecar.says(TAKEN_IN);
    sidecar.says("it holds after a restart key=\"query_memory\"");
    assert!(!sidecar.log().contains("key=\"disk_limit\""));
    assert!(ask(&dir, "SELECT 1").contains("may not use the sidecar"), "the new access holds");
    reload(&sidecar, &dir, ITEMS);
    sidecar.says("restart key=\"query_memory\"");
    let again = || ask(&dir, "SELECT 1 AS n") == "n\n1\n";
    while !again() {
        std::thread::yield_now();
    }
    sidecar.end();
}

/// A table whose rows are wrong is found out only when they are read.
#[test]
fn one_bad_table_keeps_no_other_from_being_loaded() {
    let dir = files();
    dir.write("bad.csv", "x,y\n1,one\n1,twice\n");
    let sidecar = Sidecar::ready(&dir, &config(ITEMS));
    let bad = "[tables.bad]\nfiles = \"bad.csv\"\nprimary_key = [\"x\"]\n";
    reload(&sidecar, &dir, &format!("{ITEMS}{bad}{LETTERS}"));
    sidecar.says("table not loaded table=\"bad\"");
    sidecar.says("table loaded table=\"letters\" rows=2");
    assert_eq!(ask(&dir, "SELECT count(*) AS n FROM letters"), "n\n2\n");
    assert_eq!(ask(&dir, "SELECT count(*) AS n FROM items"), "n\n5\n");
    // It is tried again, so that a file that is mended is loaded without another word.
    sidecar.says("what is missing is tried again after=2s");
    dir.write("bad.csv", "x,y\n1,one\n2,mended\n");
    sidecar.says("table loaded table=\"bad\" rows=2");
    assert_eq!(ask(&dir, "SELECT y FROM bad ORDER BY x"), "y\none\nmended\n");
    let log = sidecar.end();
    assert_eq!(log.matches("table loaded table=\"letters\"").count(), 1, "{log}");
    assert_eq!(log.matches(TAKEN_IN).count(), 1, "{log}");
}

/// Reading a pipe that nobody writes to takes as long as a network file system that does not answer.
#[test]
fn a_configuration_that_cannot_be_read_to_its_end_holds_up_nothing() {
    let dir = files();
    let sidecar = Sidecar::ready(&dir, &config(&format!("{HEALTH}{ITEMS}")));
    let path = dir.path("pillion.toml");
    fs::remove_file(&path).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for _ in 0..3 {
        sidecar.signal(Signal::HUP);
    }
    // Whoever opens the other end waits until the sidecar has opened it.
    let held = fs::OpenOptions::new().write(true).open(&path).unwrap();
    assert_eq!(get(&sidecar, "/health/live").code, 200);
    assert_eq!(get(&sidecar, "/health/ready").code, 200);
    assert_eq!(ask(&dir, "SELECT count(*) AS n FROM items"), "n\n5\n");
    let log = sidecar.end();
    assert!(!log.contains(TAKEN_IN) && !log.contains(REFUSED), "{log}");
    drop(held);
}
