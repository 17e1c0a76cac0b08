//! Records what a server sends of changes to a client of its own, `pg_recvlogical`. The tests of the decoder read such recordings:
//! `PILLION_RECORD_SESSIONS=DIRECTORY` writes them there.

#![expect(clippy::big_endian_bytes, reason = "the server sends numbers so")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::support::server::{SECRET, Server};

const SETTINGS: &[&str] = &["wal_level=logical", "max_wal_senders=4", "logical_decoding_work_mem=64kB"];

/// Every kind of change, in transactions that are sent after their commit.
const CHANGES: &str = r"
INSERT INTO plain VALUES (1, 'one', 1.50, repeat('x', 5)), (2, NULL, 'NaN', ''), (3, E'\u00e4\n', -0.01, NULL);
UPDATE plain SET word = 'two' WHERE id = 2;
UPDATE plain SET id = 20, word = 'twenty' WHERE id = 2;
BEGIN;
UPDATE full_identity SET word = 'new' WHERE id = 1;
DELETE FROM full_identity WHERE id = 2;
UPDATE index_identity SET word = 'new' WHERE id = 1;
UPDATE index_identity SET code = 'C' WHERE id = 1;
DELETE FROM index_identity WHERE id = 2;
SAVEPOINT a;
INSERT INTO plain VALUES (100, 'rolled back');
ROLLBACK TO a;
INSERT INTO plain VALUES (101, 'kept');
COMMIT;
BEGIN; INSERT INTO plain VALUES (200, 'never'); ROLLBACK;
UPDATE large SET number = 2;
UPDATE large SET number = 3, body = 'short';
DELETE FROM plain WHERE id = 3;
INSERT INTO hidden VALUES (1);
TRUNCATE parent RESTART IDENTITY CASCADE;
TRUNCATE plain, full_identity;
ALTER TABLE plain ADD COLUMN added date;
INSERT INTO plain VALUES (7, 'seven', 7, 'pad', 'infinity');
ALTER TABLE plain DROP COLUMN pad;
INSERT INTO plain VALUES (8, 'eight', 8, '2024-02-29');
SELECT pg_logical_emit_message(false, 'beside', 'a note beside transactions') IS NULL;
SELECT pg_logical_emit_message(true, 'inside', 'a note') IS NULL;
BEGIN; INSERT INTO plain VALUES (9); PREPARE TRANSACTION 'nine';
INSERT INTO plain VALUES (10);
COMMIT PREPARED 'nine';
SELECT pg_replication_origin_create('elsewhere') > 0, pg_replication_origin_session_setup('elsewhere');
BEGIN; SELECT pg_replication_origin_xact_setup('1/2345', '2020-01-01'); INSERT INTO plain VALUES (11); COMMIT;
SELECT pg_replication_origin_session_reset();
";

const TABLES: &str = r"
CREATE TABLE plain (id int PRIMARY KEY, word text, amount numeric(10,2), pad varchar(20));
CREATE TABLE full_identity (id int, word text); ALTER TABLE full_identity REPLICA IDENTITY FULL;
CREATE TABLE index_identity (id int PRIMARY KEY, code text NOT NULL UNIQUE, word text);
ALTER TABLE index_identity REPLICA IDENTITY USING INDEX index_identity_code_key;
CREATE TABLE large (id int PRIMARY KEY, number int, body text);
ALTER TABLE large ALTER body SET STORAGE EXTERNAL;
CREATE TABLE hidden (id int PRIMARY KEY);
CREATE TABLE parent (id serial PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN grade AS int CHECK (VALUE > 0);
CREATE TABLE kinds (id int PRIMARY KEY, b boolean, i2 smallint, i8 bigint, f4 real, f8 double precision, n numeric, c char(3),
  t timestamptz, ts timestamp, d date, tm time, iv interval, u uuid, j json, jb jsonb, ip inet, by bytea, m mood, g grade,
  ia int[], ta text[], r int4range);
INSERT INTO full_identity VALUES (1, 'old'), (2, NULL);
INSERT INTO index_identity VALUES (1, 'A', 'old'), (2, 'B', 'old');
INSERT INTO large VALUES (1, 1, repeat('0123456789', 1000));
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1);
CREATE PUBLICATION p FOR TABLE plain, full_identity, index_identity, large, parent, child, kinds;
";

const KINDS: &str = r#"
INSERT INTO kinds VALUES (1, true, -2, 9223372036854775807, 1.5, 'NaN', 'Infinity', 'ab', 'infinity', '-infinity', '4713-01-01 BC',
  '24:00', '1 year 2 days 3.5 s', '00112233-4455-6677-8899-aabbccddeeff', '{"a": 1}', '{"a": [1, null]}', '10.0.0.1/8', '\x00ff', 'happy', 5,
  '{1,NULL,3}', '{a,"b c",NULL}', '[1,5)');
INSERT INTO kinds (id) VALUES (2);
"#;

/// A client of the server's own whose connection is recorded until it has everything up to now.
fn record(server: &Server, slot: &str, options: &[&str]) -> Vec<Vec<u8>> {
    let end = server.psql("SELECT pg_current_wal_insert_lsn()");
    // One more record, so that the end is behind everything.
    server.psql("SELECT pg_logical_emit_message(false, 'end', '') IS NULL");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut command = Command::new("pg_recvlogical");
    command.args([
        "-h",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-U",
        "postgres",
        "-d",
        "postgres",
        "-S",
        slot,
    ]);
    command
        .args(["--start", "-f", "/dev/null", "-E", &end])
        .env("PGPASSWORD", SECRET)
        .env("PGSSLMODE", "disable");
    for option in options {
        command.args(["-o", option]);
    }
    let mut client = command.stderr(Stdio::null()).spawn().unwrap();
    let (mut near, _) = listener.accept().unwrap();
    let mut far = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let asking = std::thread::Builder::new().spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let mut sent = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(len @ 1..) = far.read(&mut buffer) {
        sent.extend_from_slice(&buffer[..len]);
        if near.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    drop(near);
    assert!(client.wait().unwrap().success());
    asking.unwrap().join().unwrap();
    contents(&sent)
}

/// What is in the `CopyData` of a connection once it streams.
fn contents(mut sent: &[u8]) -> Vec<Vec<u8>> {
    let (mut contents, mut streams) = (Vec::new(), false);
    while let Some((head, rest)) = sent.split_first_chunk::<5>() {
        let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
        let (body, rest) = rest.split_at(len);
        match head[0] {
            b'W' => streams = true,
            b'd' if streams => contents.push(body.to_vec()),
            _ => {}
        }
        sent = rest;
    }
    contents
}

/// Checks that a recording has the messages of these kinds, and writes it where that is asked for.
fn keep(name: &str, contents: &[Vec<u8>], kinds: &[u8]) {
    for kind in kinds {
        let has = contents.iter().any(|content| content[0] == b'w' && content[25] == *kind);
        assert!(has, "{name} has no message {:?}", *kind as char);
    }
    let Some(dir) = std::env::var_os("PILLION_RECORD_SESSIONS") else { return };
    let mut file = std::fs::File::create(Path::new(&dir).join(format!("{name}.session"))).unwrap();
    for content in contents {
        file.write_all(&u32::try_from(content.len()).unwrap().to_be_bytes()).unwrap();
        file.write_all(content).unwrap();
    }
}

fn server() -> Option<Server> {
    let more = ["max_prepared_transactions=2"];
    let server = Server::start_with(|_| SETTINGS.iter().chain(&more).map(ToString::to_string).collect())?;
    server.psql(TABLES);
    Some(server)
}

fn slot(server: &Server, name: &str) {
    server.psql(&format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput') IS NULL"));
}

/// A session that others act beside.
struct Talk {
    psql: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Talk {
    fn with(server: &Server) -> Self {
        let mut psql = server.psql_command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (psql.stdin.take().unwrap(), BufReader::new(psql.stdout.take().unwrap()));
        Self { psql, to, from }
    }

    /// Says something and waits until it is done.
    fn say(&mut self, script: &str) {
        self.to.write_all(format!("{script}\n\\echo done\n").as_bytes()).unwrap();
        let mut line = String::new();
        while line.trim() != "done" {
            line.clear();
            assert!(self.from.read_line(&mut line).unwrap() > 0, "psql ended in {script}");
        }
    }

    fn end(mut self) {
        drop(self.to);
        assert!(self.psql.wait().unwrap().success());
    }
}

#[test]
fn committed_transactions_are_recorded() {
    let Some(server) = server() else { return };
    slot(&server, "one");
    slot(&server, "two");
    server.psql(CHANGES);
    server.psql(KINDS);
    let kinds = b"BCORYIUDTM";
    let options = ["proto_version=1", "publication_names=p", "messages=true"];
    keep("text", &record(&server, "one", &options), kinds);
    keep("binary", &record(&server, "two", &[&options[..], &["binary=true"]].concat()), kinds);
}

#[test]
fn streamed_transactions_are_recorded() {
    let Some(server) = server() else { return };
    slot(&server, "one");
    let rows = |from: u32, word: &str| {
        format!("INSERT INTO plain SELECT n, '{word}' FROM generate_series({from}, {}) n;", from + 499)
    };
    let (mut first, mut second) = (Talk::with(&server), Talk::with(&server));
    first.say(&format!("BEGIN; {}", rows(0, "first")));
    second.say(&format!("BEGIN; {}", rows(10_000, "second")));
    first.say(&format!("SAVEPOINT a; {} SAVEPOINT b; {}", rows(20_000, "a"), rows(30_000, "b")));
    first.say("UPDATE plain SET id = 40000 WHERE id = 1; DELETE FROM plain WHERE id = 2; ROLLBACK TO b;");
    server.psql("INSERT INTO plain VALUES (50000, 'small');");
    let change = "UPDATE plain SET id = 40001 WHERE id = 1; DELETE FROM plain WHERE id = 2; TRUNCATE child;";
    first.say(&format!("RELEASE a; {change} {}", rows(60_000, "after")));
    second.say(&format!("{} ROLLBACK;", rows(70_000, "second")));
    first.say("INSERT INTO kinds (id) VALUES (3); COMMIT;");
    second.say(&format!("BEGIN; {} PREPARE TRANSACTION 'later';", rows(80_000, "prepared")));
    second.say("COMMIT PREPARED 'later';");
    first.end();
    second.end();
    let options = ["proto_version=2", "publication_names=p", "streaming=on"];
    keep("streamed", &record(&server, "one", &options), b"BCRIUDTSEcA");
}
