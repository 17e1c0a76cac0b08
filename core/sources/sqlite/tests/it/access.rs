//! Files that cannot be read, and what a read leaves of the others.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use pillion::source::{Call, Relation, Source};
use pillion::{Error, ErrorCode};
use pillion_sqlite::{Sqlite, SqliteOptions};

use crate::support::database::{Database, copy};
use crate::support::report::not_run;
use crate::support::rows::{all, lines, patient, table};

/// A table of about 20 MB, whose first rows come long before its last ones are read.
const LARGE: &str = "CREATE TABLE large (n INTEGER PRIMARY KEY, s TEXT); WITH RECURSIVE n(n) AS \
    (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 20000) INSERT INTO large SELECT n, printf('%1000d', n) FROM n;";

fn failure(source: &Sqlite) -> Error {
    let described = source.describe(&Relation::table("t"), &patient()).unwrap_err();
    let fetched = all(source, &table("t")).unwrap_err();
    let listed = source.relations(&patient());
    assert_eq!(described.code(), fetched.code(), "{described} and {fetched}");
    assert!(listed.is_ok() || listed.unwrap_err().code() == fetched.code());
    fetched
}

#[test]
fn what_is_no_database_is_named() {
    let database = Database::new();
    let path = database.path().to_owned();
    let write = |bytes: &[u8]| fs::write(&path, bytes).unwrap();
    let expect = |code: ErrorCode, why: &str| {
        let error = failure(&database.source());
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(why) && error.message().contains("shop.db"), "{error}");
        assert!(database.files().len() <= 1, "{:?}", database.files());
    };
    expect(ErrorCode::SourceNotFound, "there is no file");
    symlink("/nowhere/shop.db", &path).unwrap();
    expect(ErrorCode::SourceNotFound, "there is no file");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    expect(ErrorCode::SourceInvalid, "is a directory");
    fs::remove_dir(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    expect(ErrorCode::SourceInvalid, "no regular file");
    fs::remove_file(&path).unwrap();
    write(b"");
    expect(ErrorCode::SourceNotFound, "it has no tables at all");
    write(b"just a text\n");
    expect(ErrorCode::SourceInvalid, "not a SQLite database, or it is encrypted");
    // Encrypted files look like random bytes, from the first one on.
    write(&(0..8192_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>());
    expect(ErrorCode::SourceInvalid, "encrypted");
    assert_eq!(failure(&Sqlite::new("/etc/passwd/x.db")).code(), ErrorCode::SourceNotFound);
}

#[test]
fn a_truncated_or_damaged_file_is_an_error_and_not_fewer_rows() {
    let database = Database::with(LARGE);
    let whole = fs::read(database.path()).unwrap();
    let fetch = || all(&database.source(), &table("large")).map(|rows| rows.num_rows());
    assert_eq!(fetch().unwrap(), 20_000);
    for len in [100, 4096, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        fs::write(database.path(), &whole[..len]).unwrap();
        let error = fetch().unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceInvalid, "{len} bytes: {error}");
    }
    for page in [1, 2, 100, 3000] {
        let mut damaged = whole.clone();
        damaged[page * 4096..page * 4096 + 100].fill(0xee);
        fs::write(database.path(), &damaged).unwrap();
        let error = fetch().unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceInvalid, "page {page}: {error}");
        assert!(error.message().contains("integrity_check"), "{error}");
    }
    fs::write(database.path(), &whole).unwrap();
    assert_eq!(fetch().unwrap(), 20_000);
}

#[test]
fn a_read_leaves_the_folder_as_it_was() {
    for mode in ["delete", "wal"] {
        let database = Database::with(&format!("PRAGMA journal_mode = {mode}; {LARGE}"));
        let before = (database.files(), fs::metadata(database.path()).unwrap().modified().unwrap());
        assert_eq!(before.0, ["shop.db"]);
        let source = database.source();
        assert_eq!(all(&source, &table("large")).unwrap().num_rows(), 20_000);
        source.describe(&Relation::table("large"), &patient()).unwrap();
        source.relations(&patient()).unwrap();
        drop(source.fetch(&table("large"), &patient()).unwrap());
        database.wait_until_left_alone();
        assert_eq!(
            (database.files(), fs::metadata(database.path()).unwrap().modified().unwrap()),
            before,
            "{mode}"
        );
    }
}

#[test]
fn names_of_files_may_have_any_letters() {
    for name in ["a?b%c#d 'x' \"y\".db", "file:x", "-wal", "\u{e4}\\.db"] {
        let database = Database::new();
        let path = database.path().with_file_name(name);
        rusqlite::Connection::open_with_flags(
            format!(
                "file:{}",
                path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23")
            ),
            rusqlite::OpenFlags::default(),
        )
        .unwrap()
        .execute_batch("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (7);")
        .unwrap();
        assert_eq!(lines(&all(&Sqlite::new(&path), &table("t")).unwrap()), ["7"], "{name}");
        assert_eq!(database.files(), [name]);
    }
}

/// The log lies beside the file and not beside the link.
#[test]
fn a_link_is_followed_each_time() {
    let (first, second) = (Database::with("CREATE TABLE t (id INTEGER);"), Database::new());
    let application = first.connect();
    application.execute_batch("PRAGMA journal_mode = wal; INSERT INTO t VALUES (1);").unwrap();
    second.execute("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (2);");
    let links = Database::new();
    symlink(first.path(), links.path()).unwrap();
    let source = links.source();
    assert_eq!(lines(&all(&source, &table("t")).unwrap()), ["1"]);
    let mark = source.mark(&Relation::table("t"), &patient()).unwrap();
    fs::remove_file(links.path()).unwrap();
    symlink(second.path(), links.path()).unwrap();
    assert_eq!(lines(&all(&source, &table("t")).unwrap()), ["2"]);
    assert_ne!(source.mark(&Relation::table("t"), &patient()).unwrap(), mark);
    assert_eq!(links.files(), ["shop.db"]);
}

#[test]
fn a_writer_that_lets_nobody_read_is_waited_for_so_long() {
    let database = Database::with("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let writer = database.connect();
    writer.execute_batch("BEGIN EXCLUSIVE; INSERT INTO t VALUES (2);").unwrap();
    let impatient = SqliteOptions::new(database.path()).busy_timeout(Duration::from_millis(100)).build();
    let error = failure(&impatient);
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
    assert!(error.message().contains("busy_timeout") && error.message().contains("100ms"), "{error}");
    // The call may end first.
    let source = SqliteOptions::new(database.path()).busy_timeout(Duration::from_secs(3600)).build();
    let error = source.fetch(&table("t"), &Call::within(Duration::from_millis(100))).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout);
    let call = Call::new();
    let (of_thread, waiting) = (call.clone(), source.clone());
    let thread = std::thread::Builder::new()
        .spawn(move || waiting.describe(&Relation::table("t"), &of_thread).unwrap_err().code())
        .unwrap();
    call.cancel();
    assert_eq!(thread.join().unwrap(), ErrorCode::Cancelled);
    // Or the writer.
    let thread =
        std::thread::Builder::new().spawn(move || lines(&all(&source, &table("t")).unwrap())).unwrap();
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(thread.join().unwrap(), ["1", "2"]);
    // A transaction that has only begun to write lets others read.
    writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM t;").unwrap();
    assert_eq!(lines(&all(&impatient, &table("t")).unwrap()), ["1", "2"]);
    writer.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn a_file_that_is_replaced_or_overwritten_while_it_is_read_fails_the_fetch() {
    for (mode, way) in [
        ("delete", "over"),
        ("delete", "in place"),
        ("delete", "gone"),
        ("delete", "cut"),
        ("wal", "over"),
        ("wal", "in place"),
        ("wal", "gone"),
        ("wal", "cut"),
    ] {
        let database = Database::with(&format!("PRAGMA journal_mode = {mode}; {LARGE}"));
        let copied = database.beside(".copy");
        copy(database.path(), &copied);
        let mut fetched = database.source().fetch(&table("large"), &patient()).unwrap();
        assert!(fetched.next().unwrap().is_ok());
        match way {
            "over" => fs::rename(&copied, database.path()).unwrap(),
            "in place" => copy(&copied, database.path()),
            "gone" => fs::remove_file(database.path()).unwrap(),
            _ => {
                let status = Command::new("truncate").args(["-s", "8192"]).arg(database.path()).status();
                assert!(status.unwrap().success());
            }
        }
        let error = fetched.by_ref().find_map(Result::err).expect("the file is another one");
        let code = if way == "gone" { ErrorCode::SourceNotFound } else { ErrorCode::SourceUnavailable };
        assert_eq!(error.code(), code, "{mode} {way}: {error}");
        assert!(way == "gone" || error.message().contains("replaced or overwritten"), "{error}");
        assert!(fetched.next().is_none());
    }
}

/// A file that nobody has open is read without locks. Whoever opens it and moves its log into it meanwhile is noticed.
#[test]
fn an_application_that_starts_while_its_closed_file_is_read_is_noticed() {
    let database = Database::with(&format!("PRAGMA journal_mode = wal; {LARGE}"));
    let source = database.source();
    let mut fetched = source.fetch(&table("large").columns(["s"]), &patient()).unwrap();
    let (mark, first) = (fetched.change_mark().unwrap().to_vec(), fetched.next().unwrap().unwrap());
    let application = database.connect();
    application.execute_batch("PRAGMA wal_autocheckpoint = 0; UPDATE large SET s = 'new';").unwrap();
    // The log is not in the file yet, so the rows are those of before.
    let rows = first.num_rows()
        + fetched
            .map(|batch| {
                let batch = batch.unwrap();
                assert!(lines(&batch).iter().all(|line| line.len() == 1000));
                batch.num_rows()
            })
            .sum::<usize>();
    assert_eq!(rows, 20_000);
    assert_ne!(source.mark(&Relation::table("large"), &patient()).unwrap().unwrap(), mark);
    drop(application);

    database.execute(&format!("DROP TABLE large; {LARGE}"));
    let mut fetched = source.fetch(&table("large").columns(["s"]), &patient()).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    database.execute("UPDATE large SET s = 'newer';");
    let error = fetched.find_map(Result::err).expect("the log was moved into the file");
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
    let rows = lines(&all(&source, &table("large").columns(["s"])).unwrap());
    assert!(rows.len() == 20_000 && rows.iter().all(|row| row == "newer"));
}

#[test]
fn a_transaction_that_a_crash_cut_off_is_left_to_whoever_may_write() {
    let database = Database::with(LARGE);
    let crashed = Database::new();
    let writer = database.connect();
    // More than the writer keeps in memory, so that the file has some of it.
    writer.execute_batch("PRAGMA cache_size = 10; BEGIN; UPDATE large SET s = 'lost';").unwrap();
    copy(database.path(), crashed.path());
    copy(&database.beside("-journal"), &crashed.beside("-journal"));
    let before = fs::read(crashed.path()).unwrap();
    let error = failure(&crashed.source());
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
    assert!(error.message().contains("roll it back"), "{error}");
    assert_eq!(fs::read(crashed.path()).unwrap(), before);
    assert_eq!(crashed.files(), ["shop.db", "shop.db-journal"]);
    crashed.execute("SELECT * FROM large LIMIT 1");
    let rows = lines(&all(&crashed.source(), &table("large").columns(["s"])).unwrap());
    assert!(rows.len() == 20_000 && rows.iter().all(|row| row.len() == 1000));
}

#[test]
fn a_log_that_a_crash_left_is_read() {
    let database = Database::with("PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER);");
    let application = database.connect();
    application.execute_batch("INSERT INTO t VALUES (1), (2);").unwrap();
    let crashed = Database::new();
    copy(database.path(), crashed.path());
    copy(&database.beside("-wal"), &crashed.beside("-wal"));
    let error = failure(&SqliteOptions::new(crashed.path()).immutable().build());
    assert_eq!(error.code(), ErrorCode::SourceUnavailable);
    assert!(error.message().contains("would not be seen"), "{error}");
    assert_eq!(crashed.files(), ["shop.db", "shop.db-wal"]);
    assert_eq!(lines(&all(&crashed.source(), &table("t")).unwrap()), ["1", "2"]);
    // Nothing was moved, and nothing is lost for the application.
    assert!(fs::metadata(crashed.beside("-wal")).unwrap().len() > 0);
    crashed.execute("INSERT INTO t VALUES (3);");
    assert_eq!(lines(&all(&crashed.source(), &table("t")).unwrap()), ["1", "2", "3"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_read_where_that_is_possible() {
    let database =
        Database::with("PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let application = database.connect();
    application.execute_batch("INSERT INTO t VALUES (2);").unwrap();
    let disk = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        let output = Command::new("mount").args(arguments).arg(disk.path()).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !mount(&["-t", "tmpfs", "tmpfs"]) {
        not_run("needs root, to mount a disk that cannot be written");
        return;
    }
    let unmount = Unmount(disk.path().to_owned());
    let (closed, open) = (disk.path().join("closed.db"), disk.path().join("open.db"));
    copy(database.path(), &open);
    copy(&database.beside("-wal"), &disk.path().join("open.db-wal"));
    drop(application);
    copy(database.path(), &closed);
    assert!(mount(&["-o", "remount,ro"]));
    assert_eq!(lines(&all(&Sqlite::new(&closed), &table("t")).unwrap()), ["1", "2"]);
    let immutable = SqliteOptions::new(&closed).immutable().build();
    assert_eq!(lines(&all(&immutable, &table("t")).unwrap()), ["1", "2"]);
    let error = failure(&Sqlite::new(&open));
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
    assert!(error.message().contains("-shm"), "{error}");
    drop(unmount);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg("--lazy").arg(&self.0).status().unwrap().success());
    }
}

/// Reading does not give up the locks that other connections of the same process hold.
#[test]
fn locks_of_the_own_process_are_kept() {
    let database = Database::with("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let writer = database.connect();
    writer.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (2);").unwrap();
    assert_eq!(lines(&all(&database.source(), &table("t")).unwrap()), ["1"]);
    database.source().mark(&Relation::table("t"), &patient()).unwrap();
    // Another process finds the lock.
    let other = Command::new("sqlite3").arg(database.path()).arg("BEGIN IMMEDIATE;").output();
    let Ok(other) = other else { return not_run("sqlite3 is not installed") };
    assert!(String::from_utf8_lossy(&other.stderr).contains("locked"), "{other:?}");
    writer.execute_batch("COMMIT").unwrap();
}

/// A file that changes under a page that was read already is not noticed by SQLite itself.
#[test]
fn a_page_that_is_overwritten_behind_the_locks_fails_the_fetch() {
    let database = Database::with(LARGE);
    let mut fetched = database.source().fetch(&table("large"), &patient()).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    // Never closed while the fetch runs: that would give up its lock.
    let mut file = File::options().write(true).open(database.path()).unwrap();
    file.seek(SeekFrom::End(-10)).unwrap();
    file.write_all(b"x").unwrap();
    let error = fetched.find_map(Result::err).expect("somebody wrote without a lock");
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
    drop(file);
}
