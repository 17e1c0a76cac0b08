//! Tokens and permissions, as a door uses them.

#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use pillion_access::{Access, Anonymous, Denied, Permissions, Right, Tables, TokenConfig};

const READER: &str = "reader-token-0123456789";
const WRITER: &str = "writer-token-0123456789";

fn write(dir: &Path, name: &str, content: &str) -> PathBuf {
    let path = dir.join(name);
    File::create(&path).unwrap().write_all(content.as_bytes()).unwrap();
    path
}

fn token(name: &str, file: &Path, permissions: Permissions) -> TokenConfig {
    TokenConfig { name: name.to_owned(), file: file.to_owned(), permissions }
}

fn reads(tables: &[&str]) -> Permissions {
    Permissions { read: Tables::of(tables.iter().copied()), ..Permissions::default() }
}

#[test]
fn each_right_is_its_own_and_reaches_its_tables() {
    let all = Permissions {
        read: Tables::of(["*"]),
        write: Tables::of(["a", "b"]),
        refresh: Tables::of(["b"]),
        administer: false,
    };
    let allowed = |right, table| all.allow(right, table);
    let cells = [
        (Right::Read, [true, true, true, true]),
        (Right::Write, [true, true, false, false]),
        (Right::Refresh, [false, true, false, false]),
        (Right::Administer, [false, false, false, false]),
    ];
    for (right, expected) in cells {
        let found = [Some("a"), Some("b"), Some("c"), None].map(|table| allowed(right, table));
        assert_eq!(found, expected, "{right}");
    }
    assert!(Right::ALL.iter().all(|right| !Permissions::default().allow(*right, Some("a"))));
    let administers = Permissions { administer: true, ..Permissions::default() };
    assert!(administers.allow(Right::Administer, None) && !administers.allow(Right::Read, Some("a")));
    assert_eq!(Tables::of(Vec::<String>::new()), Tables::None);
}

#[test]
fn clients_are_who_their_token_says() {
    let dir = tempfile::tempdir().unwrap();
    // Two tokens at a time, with the line ends and blanks that editors make.
    let reader = write(dir.path(), "reader", &format!("{READER}\n\n  old-token-0123456789 \r\n"));
    let writer = write(dir.path(), "writer", WRITER);
    let tokens = [token("reader", &reader, reads(&["a"])), token("writer", &writer, reads(&[]))];
    let access = Access::new(tokens.clone(), None).unwrap();
    let name = |token: &str| access.identify("test", Some(token.as_bytes())).map(|it| it.name().to_owned());
    assert_eq!(name(READER).unwrap(), "reader");
    assert_eq!(name("old-token-0123456789").unwrap(), "reader");
    assert_eq!(name(WRITER).unwrap(), "writer");
    for wrong in ["", "reader-token-012345678", "reader-token-01234567890", "READER-TOKEN-0123456789", "\n"] {
        assert_eq!(name(wrong).unwrap_err(), Denied::UnknownToken, "{wrong:?}");
    }
    assert_eq!(access.identify("test", None).unwrap_err(), Denied::NoToken);
    assert_eq!(access.denials().so_far(), 6);

    let reader = access.identify("test", Some(READER.as_bytes())).unwrap();
    reader.demand("test", Right::Read, Some("a")).unwrap();
    let denied = reader.demand("test", Right::Read, Some("b")).unwrap_err();
    assert_eq!(denied.to_string(), "`reader` may not read the table `b`");
    assert!(reader.demand("test", Right::Administer, None).is_err());
    assert!(reader.reads_any() && !reader.reads_all());
    let writer = access.identify("test", Some(WRITER.as_bytes())).unwrap();
    assert!(writer.demand_any_read("test").is_err());
    assert_eq!(access.denials().so_far(), 9);
    let shown = format!("{access:?}{reader:?}");
    assert!(!shown.contains(READER) && !shown.contains(WRITER), "no token is kept: {shown}");

    let open = Access::new(tokens, Some(reads(&["*"]))).unwrap();
    let anyone = open.identify("test", None).unwrap();
    assert_eq!(anyone.name(), "anonymous");
    assert!(anyone.reads_all());
    open.demand_again("test", &anyone, Right::Read, Some("a")).unwrap();
    assert_eq!(open.identify("test", Some(b"wrong")).unwrap_err(), Denied::UnknownToken);
}

#[test]
fn a_changed_file_is_read_again_and_a_missing_one_admits_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "token", READER);
    let access = Access::new([token("it", &file, reads(&["*"]))], None).unwrap();
    let admits = |token: &str| access.identify("test", Some(token.as_bytes())).is_ok();
    let before = access.identify("test", Some(READER.as_bytes())).unwrap();
    // As Kubernetes does it: a new file takes the place of the old one.
    std::fs::rename(write(dir.path(), "new", WRITER), &file).unwrap();
    access.look_at_files();
    assert!(admits(WRITER), "the new token is taken");
    assert!(!admits(READER));
    let again = access.demand_again("test", &before, Right::Read, Some("a"));
    assert_eq!(again.unwrap_err(), Denied::UnknownToken, "and what was admitted by the old one ends");
    std::fs::remove_file(&file).unwrap();
    access.look_at_files();
    assert!(!admits(WRITER), "a token without its file is refused");
    write(dir.path(), "token", READER);
    access.look_at_files();
    assert!(admits(READER), "a file that is back counts again");
}

#[test]
fn files_that_hold_no_token_are_refused_without_their_content() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |content: &str| {
        let file = write(dir.path(), "token", content);
        let refused = Access::new([token("it", &file, reads(&[]))], None).unwrap_err().to_string();
        assert!(content.trim().is_empty() || !refused.contains(content.trim()), "{refused}");
        refused
    };
    assert!(refused("").contains("has no token"));
    assert!(refused("\n \n").contains("has no token"));
    assert!(refused("short").contains("has 5 bytes"));
    assert!(refused("a passphrase with spaces").contains("without spaces"));
    assert!(refused(&"long".repeat(2000)).contains("at most 4096"));
    assert!(refused(&"x".repeat(70_000)).contains("too long for a file of tokens"));
    let file = write(dir.path(), "token", READER);
    let twice = [token("one", &file, reads(&[])), token("two", &file, reads(&[]))];
    let refused = Access::new(twice, None).unwrap_err().to_string();
    assert!(refused.contains("`one` and `two` are the same"), "{refused}");
    let missing = Access::new([token("it", &dir.path().join("none"), reads(&[]))], None).unwrap_err();
    assert!(missing.to_string().contains("cannot read"), "{missing}");
}

#[test]
fn a_file_that_could_not_be_read_is_read_once_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "token", READER);
    let access = Access::new([token("it", &file, reads(&["*"]))], None).unwrap();
    let admits = |token: &str| access.identify("test", Some(token.as_bytes())).is_ok();
    // A folder in its place: it is there, and cannot be read. The file that comes back is the one that could not be read, unchanged.
    let (kept, folder) = (dir.path().join("kept"), dir.path().join("folder"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::rename(&file, &kept).unwrap();
    std::os::unix::fs::symlink(&folder, &file).unwrap();
    access.look_at_files();
    assert!(!admits(READER), "it cannot be read");
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(&kept, &file).unwrap();
    access.look_at_files();
    assert!(admits(READER), "it is read");
}

#[test]
fn a_token_that_comes_to_stand_in_two_files_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (write(dir.path(), "one", READER), write(dir.path(), "two", WRITER));
    let tokens = [token("one", &one, reads(&["a"])), token("two", &two, reads(&["*"]))];
    let access = Access::new(tokens, None).unwrap();
    let name = |token: &str| access.identify("test", Some(token.as_bytes())).map(|it| it.name().to_owned());
    write(dir.path(), "two", &format!("{READER}\n{WRITER}\n"));
    access.look_at_files();
    assert!(name(READER).is_err(), "it is nobody's");
    assert_eq!(name(WRITER).unwrap(), "two", "what only one has goes on");
    write(dir.path(), "one", "another-token-0123456789");
    access.look_at_files();
    assert!(name(READER).is_ok_and(|name| name == "two"), "it is that of the one who has it");
}

#[test]
fn changed_permissions_hold_for_what_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "token", READER);
    let access = Access::new([token("it", &file, reads(&["a"]))], Some(reads(&["a"]))).unwrap();
    let (it, anyone) =
        (access.identify("test", Some(READER.as_bytes())).unwrap(), access.identify("test", None).unwrap());
    let again = |identity, table| access.demand_again("test", identity, Right::Read, Some(table));
    again(&it, "a").unwrap();
    again(&anyone, "a").unwrap();
    access.adjust([token("it", &file, reads(&["b"]))], None).unwrap();
    assert_eq!(again(&it, "a").unwrap_err().to_string(), "`it` may not read the table `a`");
    again(&it, "b").unwrap();
    assert_eq!(again(&anyone, "a").unwrap_err(), Denied::NoToken);
    let missing = token("it", &dir.path().join("none"), reads(&["*"]));
    assert!(access.adjust([missing], None).is_err());
    again(&it, "b").unwrap();
    access.adjust([], None).unwrap();
    assert_eq!(again(&it, "b").unwrap_err(), Denied::UnknownToken);
}

#[test]
fn whoever_shows_no_token_may_do_what_the_door_says() {
    let access = Access::new([], Anonymous::at([("a", reads(&["x"])), ("b", reads(&["y"]))])).unwrap();
    assert!(access.identify("a", None).unwrap().may(Right::Read, Some("x")));
    assert!(!access.identify("b", None).unwrap().may(Right::Read, Some("x")));
    assert_eq!(access.identify("c", None).unwrap_err(), Denied::NoToken);
}
