//! A sidecar starts, serves, stops and starts again, however it was ended.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use pillion::{Cache, ErrorCode};
use rustix::process::Signal;

use crate::sidecar::{Sidecar, config, socket, url};
use crate::support::{Dir, MANY_ROWS, Outcome, items, many, not_run, write_parquet};

/// A table of `items`, from a file.
const ITEMS: &str = "[tables.items]\nfiles = \"items.parquet\"\nprimary_key = [\"id\"]\n";

/// A directory with the files of tables, and no cache.
fn files() -> Dir {
    let dir = Dir::empty();
    write_parquet(&dir.path("items.parquet"), &items());
    dir
}

/// A directory with a cache that has the table `many`, and the file of `items`.
fn with_many() -> Dir {
    let dir = Dir::with_many();
    write_parquet(&dir.path("items.parquet"), &items());
    dir
}

fn count(dir: &Dir, table: &str) -> String {
    let query = format!("SELECT count(*) AS n FROM {table}");
    dir.answer(&["sql", "--url", &url(dir), "--format", "csv", &query])
}

#[test]
fn it_loads_its_tables_and_answers() {
    let dir = files();
    dir.write("a.csv", "x,y\n1,one\n");
    dir.write("b.csv", "x,y\n2,two\n");
    let tables =
        format!("{ITEMS}[tables.letters]\nfiles = [\"*.csv\"]\nformat = \"csv\"\nprimary_key = \"x\"\n");
    let sidecar = Sidecar::ready(&dir, &config(&tables));
    assert_eq!(count(&dir, "items"), "n\n5\n");
    let answer =
        dir.answer(&["sql", "--url", &url(&dir), "--format", "csv", "SELECT y FROM letters ORDER BY x"]);
    assert_eq!(answer, "y\none\ntwo\n");
    // By default `status` asks the sidecar, which knows more about itself; `attach=require` makes it read the files.
    let socket = format!("unix:{}", socket(&dir).display());
    let status = dir.answer(&["status", "--url", &socket]);
    assert!(status.contains("way        remote\nowner      the sidecar\n"), "{status}");
    let status = dir.answer(&["status", "--url", &format!("{socket}?attach=require")]);
    assert!(status.contains("way        attached\nowner      seen "), "{status}");
    assert_eq!(dir.answer(&["status", "--url", &url(&dir), "--ready"]), "");
    // The same rows for a reader that maps the directory, while the sidecar runs.
    let attached = dir.answer(&[
        "sql",
        "--url",
        dir.cache().to_str().unwrap(),
        "--format",
        "csv",
        "SELECT count(*) AS n FROM items",
    ]);
    assert_eq!(attached, "n\n5\n");
    let log = sidecar.end();
    assert_eq!(log.matches(" ready ").count(), 1, "{log}");
}

#[test]
fn at_the_signal_it_closes_the_cache_and_removes_its_socket() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = files();
        let sidecar = Sidecar::ready(&dir, &config(ITEMS));
        assert!(socket(&dir).metadata().unwrap().file_type().is_socket());
        sidecar.signal(signal);
        let (status, log) = sidecar.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert_eq!(
            fs::read_dir(dir.path("run")).unwrap().count(),
            0,
            "neither the socket nor its lock stays"
        );
        let cache = Cache::open_read_only(dir.cache()).unwrap();
        assert!(cache.status().unwrap().owner.unwrap().closed);
        assert_eq!(cache.table("items").unwrap().info().unwrap().rows, 5);
    }
}

#[test]
fn what_was_written_is_there_after_it_was_killed() {
    let dir = files();
    let sidecar = Sidecar::ready(&dir, &config(ITEMS));
    dir.write("more.csv", "id,name,price,sold\n6,six,1.5,\n7,seven,,\n");
    dir.run(&["load", "--url", &url(&dir), "items", "more.csv", "--append"]).answer();
    let all = ["sql", "--url", &url(&dir), "--format", "csv", "SELECT * FROM items ORDER BY id"];
    let before = dir.answer(&all);
    assert_eq!(before.matches("seven").count(), 1, "{before}");
    sidecar.kill();
    assert!(socket(&dir).exists(), "a killed server leaves its socket");
    // The file is gone and is not needed, because the cache has the rows.
    fs::remove_file(dir.path("items.parquet")).unwrap();
    let sidecar = Sidecar::ready(&dir, &config(ITEMS));
    assert_eq!(dir.answer(&all), before);
    let log = sidecar.end();
    assert!(log.contains("table kept table=\"items\" rows=7"), "{log}");
}

#[test]
fn a_second_one_on_the_same_socket_or_directory_is_refused() {
    let dir = files();
    let sidecar = Sidecar::ready(&dir, &config(ITEMS));
    let second = |config: &str| {
        let path = dir.write("second.toml", config);
        dir.run(&["serve", "--config", path.to_str().unwrap()])
    };
    let outcome = second("dir = \"other\"\nsocket = \"run/pillion.sock\"\nlog = \"error\"");
    outcome.fails(4, &["another process listens on", "run/pillion.sock"]);
    let outcome = second("dir = \"cache\"\nsocket = \"run/other.sock\"\nlog = \"error\"");
    outcome.fails(4, &["cache is owned by process"]);
    assert_eq!(count(&dir, "items"), "n\n5\n", "the first goes on");
    sidecar.end();
}

#[test]
fn of_two_that_start_at_once_on_one_socket_one_serves() {
    let dir = files();
    for round in 0..5 {
        let start = |name: &str| {
            let config = format!("dir = \"{name}-{round}\"\nsocket = \"run/pillion.sock\"\n{ITEMS}");
            Sidecar::start_named(&dir, &format!("{name}.toml"), &config)
        };
        let both = [start("one"), start("two")];
        // Each prints either that it serves or that it cannot.
        let (mut serving, mut refused) = (Vec::new(), Vec::new());
        for sidecar in both {
            sidecar.says("pillion.sock");
            if sidecar.log().contains(" ready ") {
                serving.push(sidecar);
            } else {
                refused.push(sidecar);
            }
        }
        assert_eq!((serving.len(), refused.len()), (1, 1), "round {round}");
        let (status, log) = refused.remove(0).wait();
        assert_eq!(status.code(), Some(4), "{log}");
        assert!(log.contains("another process listens on"), "{log}");
        assert_eq!(count(&dir, "items"), "n\n5\n");
        serving.remove(0).end();
        assert!(!socket(&dir).exists());
    }
}

#[test]
fn a_client_waits_for_one_that_is_still_starting() {
    let dir = files();
    let mut client =
        dir.command(&["sql", "--url", &url(&dir), "--format", "csv", "SELECT count(*) AS n FROM items"]);
    let client = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let sidecar = Sidecar::start(&dir, &config(ITEMS));
    let output = client.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "n\n5\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    sidecar.end();
}

#[test]
fn without_one_a_client_gives_up_at_its_deadline() {
    let dir = Dir::empty();
    let url = format!("{}&deadline=1", url(&dir));
    dir.run(&["status", "--url", &url, "--ready"]).fails(4, &["no sidecar answers on", "pillion.sock"]);
}

/// The answer ends in the middle, and its reader gets an error.
#[test]
fn at_the_signal_an_answer_that_is_streamed_ends_with_an_error() {
    let dir = with_many();
    let sidecar = Sidecar::ready(&dir, &config(ITEMS));
    let endless = "SELECT a.id, b.text FROM many a, many b";
    let mut client = dir.command(&["sql", "--url", &url(&dir), "--format", "csv", endless]);
    let mut client = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut answer = client.stdout.take().unwrap();
    answer.read_exact(&mut [0; 1 << 20]).unwrap();
    sidecar.signal(Signal::TERM);
    // Reads on, so that the client is not the one that stalls.
    std::io::copy(&mut answer, &mut std::io::sink()).unwrap();
    let output = client.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{errors}");
    assert!(errors.starts_with("error: "), "{errors}");
    let (status, log) = sidecar.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains(" closed"), "{log}");
}

/// A client that asks for many rows and reads only the header of their frame: the call runs until the sidecar gives up
/// on the client.
fn half_read(dir: &Dir) -> UnixStream {
    let ask = |stream: &mut UnixStream, call: u16, body: &[u8]| {
        let mut frame = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
        frame.extend_from_slice(&call.to_le_bytes());
        frame.extend_from_slice(&[0; 10]);
        frame.extend_from_slice(body);
        stream.write_all(&frame).unwrap();
        let mut head = [0; 16];
        stream.read_exact(&mut head).unwrap();
        u32::from_le_bytes(*head.first_chunk().unwrap())
    };
    let mut stream = UnixStream::connect(socket(dir)).unwrap();
    let len = ask(&mut stream, 1, b"\x82\xA8protocol\x01\xA6client\xA1x");
    stream.read_exact(&mut vec![0; len as usize]).unwrap();
    let query = b"\x83\xA8snapshot\xC0\xA4text\xD9\x21SELECT repeat(text, 10) FROM many\xAAparameters\x90";
    let len = ask(&mut stream, 11, query);
    assert!(len > 1 << 20, "{len} bytes are more than a socket holds");
    stream
}

#[test]
fn calls_that_take_too_long_are_given_up() {
    let dir = with_many();
    let sidecar = Sidecar::ready(&dir, &config("stop_timeout = \"300 ms\"\nhandshake_timeout = \"1 h\""));
    let client = half_read(&dir);
    sidecar.signal(Signal::TERM);
    let (status, log) = sidecar.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("calls that still run are given up") && log.contains(" closed"), "{log}");
    assert_eq!(dir.open().table("many").unwrap().info().unwrap().rows, MANY_ROWS as u64);
    drop(client);
}

#[test]
fn a_second_signal_ends_it_at_once_and_nothing_is_lost() {
    let dir = with_many();
    let patient = format!("stop_timeout = \"1 h\"\nhandshake_timeout = \"1 h\"\n{ITEMS}");
    let sidecar = Sidecar::ready(&dir, &config(&patient));
    let cache = Cache::connect(socket(&dir), Duration::from_secs(60)).unwrap();
    cache.table("items").unwrap().replace(items().slice(0, 3)).unwrap();
    let client = half_read(&dir);
    sidecar.signal(Signal::TERM);
    sidecar.says("asked to end");
    sidecar.signal(Signal::TERM);
    let (status, log) = sidecar.wait();
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()), "{log}");
    drop((client, cache));
    let sidecar = Sidecar::ready(&dir, &config(ITEMS));
    assert_eq!(count(&dir, "items"), "n\n3\n");
    sidecar.end();
}

/// Reading a pipe that nobody writes to takes for ever.
#[test]
fn a_signal_while_a_table_is_loaded_ends_it_and_keeps_what_is_loaded() {
    let dir = files();
    let pipe = dir.path("never.csv");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let stuck = format!("{ITEMS}[tables.never]\nfiles = \"never.csv\"\n");
    let sidecar = Sidecar::start(&dir, &config(&stuck));
    sidecar.says("table loaded table=\"items\"");
    assert!(!socket(&dir).exists(), "it listens when all tables are there");
    sidecar.signal(Signal::TERM);
    let (status, log) = sidecar.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    let cache = dir.open();
    assert_eq!(cache.table("items").unwrap().info().unwrap().rows, 5);
    assert_eq!(cache.tables().unwrap().len(), 1);
}

#[test]
fn a_table_is_loaded_again_at_a_start_only_if_that_is_asked_for() {
    let dir = files();
    let reload = format!("{ITEMS}reload = \"start\"\n");
    Sidecar::ready(&dir, &config(&reload)).end();
    write_parquet(&dir.path("items.parquet"), &items().slice(0, 2));
    let sidecar = Sidecar::ready(&dir, &config(ITEMS));
    assert_eq!(count(&dir, "items"), "n\n5\n", "kept");
    sidecar.end();
    let sidecar = Sidecar::ready(&dir, &config(&reload));
    assert_eq!(count(&dir, "items"), "n\n2\n", "loaded again");
    sidecar.end();
    // Without the file the sidecar still starts, with the rows that the cache has.
    fs::remove_file(dir.path("items.parquet")).unwrap();
    let sidecar = Sidecar::ready(&dir, &config(&reload));
    assert_eq!(count(&dir, "items"), "n\n2\n");
    let log = sidecar.end();
    assert!(log.contains("ERROR not loaded again"), "{log}");
    // So it does with a file that it cannot read, or that has other columns.
    dir.write("items.parquet", include_bytes!("../../../core/tests/files/lzo.parquet"));
    let sidecar = Sidecar::ready(&dir, &config(&reload));
    assert_eq!(count(&dir, "items"), "n\n2\n");
    let log = sidecar.end();
    assert!(log.contains("ERROR not loaded again"), "{log}");
}

#[test]
fn a_start_that_fails_says_why() {
    let dir = files();
    let start = |more: &str| {
        let path = dir.write("pillion.toml", config(&format!("log = \"error\"\n{more}")));
        dir.run(&["serve", "--config", path.to_str().unwrap()])
    };
    start("[tables.gone]\nfiles = \"gone.parquet\"").fails(3, &["table `gone`", "gone.parquet"]);
    start("[tables.items]\nfiles = \"items.parquet\"\nprimary_key = \"nmae\"")
        .fails(1, &["table `items`", "did you mean `name`?"]);
    assert!(!socket(&dir).exists());
    Sidecar::ready(&dir, &config(ITEMS)).end();
    start("[tables.items]\nfiles = \"items.parquet\"\nprimary_key = \"name\"")
        .fails(1, &["table `items` exists with primary key (id)"]);
    dir.write("run/notes", "no socket");
    let path = dir.write("pillion.toml", "dir = \"cache\"\nsocket = \"run/notes\"\nlog = \"error\"");
    dir.run(&["serve", "--config", path.to_str().unwrap()]).fails(2, &["run/notes exists and is no socket"]);
}

#[test]
fn tables_that_the_configuration_does_not_name_are_served_too() {
    let dir = with_many();
    let sidecar = Sidecar::ready(&dir, &config(ITEMS));
    assert_eq!(count(&dir, "many"), format!("n\n{MANY_ROWS}\n"));
    let answer =
        dir.answer(&["sql", "--url", &url(&dir), "--format", "csv", "SELECT max(id) AS m FROM many"]);
    assert_eq!(answer, format!("m\n{}\n", many().num_rows() - 1));
    sidecar.end();
}

#[test]
fn the_socket_has_the_mode_of_the_configuration() {
    let dir = files();
    let sidecar = Sidecar::ready(&dir, &config("[access]\nsocket_mode = \"0600\""));
    assert_eq!(socket(&dir).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(dir.path("run").metadata().unwrap().permissions().mode() & 0o777, 0o750);
    sidecar.end();
}

#[test]
fn users_that_are_not_named_are_refused_and_told() {
    let dir = files();
    let me = rustix::process::geteuid().as_raw();
    let sidecar = Sidecar::ready(&dir, &config(&format!("[access]\nallow_uids = [{}]\n{ITEMS}", me + 1)));
    let warned = format!("this user ({me}, ");
    sidecar.says(&warned);
    let refused = |outcome: Outcome| {
        let user = format!("user {me} may not use the sidecar on");
        outcome.fails(5, &[&user, "pillion.sock", "allow_uids"]);
    };
    refused(dir.run(&["status", "--url", &url(&dir)]));
    refused(dir.run(&["sql", "--url", &url(&dir), "SELECT 1"]));
    sidecar.says("denied=2");
    let log = sidecar.end();
    assert!(log.contains(&format!("not let in uid={me} ")), "{log}");

    let sidecar =
        Sidecar::ready(&dir, &config(&format!("[access]\nallow_uids = [{}, {me}]\n{ITEMS}", me + 1)));
    assert_eq!(count(&dir, "items"), "n\n5\n");
    sidecar.end();
}

/// Containers of a pod share a supplementary group. Only root can choose the groups of a child.
#[test]
fn a_supplementary_group_lets_in() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = files();
    let sidecar = Sidecar::ready(
        &dir,
        &config(&format!("[access]\nallow_gids = [4242]\nsocket_mode = \"0666\"\n{ITEMS}")),
    );
    let ask = |groups: &str| {
        let mut command = Command::new("setpriv");
        command.args([groups, env!("CARGO_BIN_EXE_pillion"), "status", "--ready", "--url", &url(&dir)]);
        Outcome::of(&mut command, "")
    };
    ask("--groups=4242,7").answer();
    ask("--groups=4241,7").fails(5, &["may not use the sidecar"]);
    sidecar.end();
}

#[test]
fn it_may_have_as_many_files_open_as_the_system_lets_it() {
    let dir = files();
    let path = dir.write("pillion.toml", config(ITEMS));
    let ready = |limits: &str| {
        let script = format!("{limits} && exec \"$0\" serve --config \"$1\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_pillion"), path.to_str().unwrap()]);
        let sidecar = Sidecar::spawn(shell.current_dir(dir.path("")));
        sidecar.says(" ready ");
        let limit = sidecar.limit("Max open files");
        sidecar.end();
        limit.split_whitespace().take(2).map(|number| number.parse().unwrap()).collect::<Vec<u32>>()
    };
    assert_eq!(ready("ulimit -Sn 100 && ulimit -Hn 900"), [900, 900]);
    assert_eq!(ready("ulimit -n 300"), [300, 300]);
}

/// When syncs fail, the sidecar refuses writes, reports it, and ends; the next one recovers what is there.
#[test]
fn it_ends_when_the_disk_fails() {
    if !Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return not_run("needs strace, to make calls of the kernel fail");
    }
    let dir = files();
    let always = config(&format!("durability = \"always\"\n{ITEMS}"));
    let path = dir.write("pillion.toml", &always);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"]);
    strace.args(["-e", "inject=fdatasync:error=EIO:when=20+", env!("CARGO_BIN_EXE_pillion"), "serve"]);
    let sidecar = Sidecar::spawn(strace.arg("--config").arg(&path).current_dir(dir.path("")));
    sidecar.says(" ready ");
    let cache = Cache::from_url(&url(&dir)).unwrap();
    let table = cache.table("items").unwrap();
    assert_eq!(cache.status().unwrap().poisoned, None);
    // Each of these writes is one sync.
    let error = (0..100).find_map(|_| table.upsert(items()).err()).unwrap();
    assert_eq!(error.code(), ErrorCode::OutcomeUnknown, "{error:#}");
    assert!(cache.status().unwrap().poisoned.unwrap().contains("cannot sync"));
    assert_eq!(table.upsert(items()).unwrap_err().code(), ErrorCode::Poisoned);
    assert_eq!(table.scan().unwrap().map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 5);
    let (status, log) = sidecar.wait();
    assert_eq!(status.code(), Some(5), "{log}");
    assert!(log.contains("cannot sync") && log.contains("start the sidecar again"), "{log}");
    let sidecar = Sidecar::ready(&dir, &always);
    assert_eq!(count(&dir, "items"), "n\n5\n");
    sidecar.end();
}
