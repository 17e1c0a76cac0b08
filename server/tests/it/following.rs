//! A sidecar that follows a real PostgreSQL server while it is killed, and what its clients ask of it meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use pillion::{Cache, ErrorCode};
use rustix::process::Signal;

use self::postgres::Server;
use crate::sidecar::{Sidecar, config, socket, url};
use crate::support::Dir;

#[expect(dead_code, reason = "the tests of the connector use more of it")]
#[path = "../../../core/sources/postgres/tests/it/support/server.rs"]
mod postgres;
#[path = "../../../core/tests/it/support/report.rs"]
mod report;

/// The runner of the tests ends one that waits for ever.
const PATIENCE: Duration = Duration::from_secs(600);
const ACCOUNTS: u32 = 40;

/// A server with accounts, between which money moves, and the configuration of a sidecar that follows them.
fn bank(more: &str) -> Option<(Server, String)> {
    let settings = ["wal_level=logical", "max_wal_senders=4"];
    let server = Server::start_with(|_| settings.map(str::to_owned).to_vec())?;
    server.psql(&format!(
        "CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL, moves int NOT NULL); \
         CREATE TABLE moves (id serial PRIMARY KEY, amount int NOT NULL); \
         INSERT INTO accounts SELECT n, 100, 0 FROM generate_series(1, {ACCOUNTS}) n;"
    ));
    let at = server.url_at(server.port(), "sslmode=disable");
    let table = |name: &str| {
        format!(
            "[tables.{name}]\nsource = \"bank\"\nrelation = \"{name}\"\nrefresh = \"changes\"\nprimary_key = [\"id\"]\n{more}"
        )
    };
    let tables = format!("[sources.bank]\nurl = \"{at}\"\n{}{}", table("accounts"), table("moves"));
    Some((server, config(&format!("{}{tables}", crate::probes::HEALTH))))
}

/// Moves money so many times, each in a transaction.
fn transfers(count: u32, seed: u32) -> String {
    (0..count)
        .map(|number| {
            let from = (number * 7 + seed) % ACCOUNTS + 1;
            let to = (number * 11 + seed * 3 + 1) % ACCOUNTS + 1;
            let to = if to == from { from % ACCOUNTS + 1 } else { to };
            // Always the account with the smaller number first, so that no two transactions wait for each other.
            let mut changes = [(from, "- 5"), (to, "+ 5")];
            changes.sort_unstable();
            let [one, other] = changes.map(|(id, change)| {
                format!("UPDATE accounts SET balance = balance {change}, moves = moves + 1 WHERE id = {id}; ")
            });
            format!("BEGIN; {one}{other}INSERT INTO moves (amount) VALUES (5); COMMIT; ")
        })
        .collect()
}

/// What the books say at one version: all money, and twice as many moves as there are.
fn books(dir: &Dir) -> Option<String> {
    let statement = "SELECT (SELECT sum(balance) FROM accounts) AS money, (SELECT sum(moves) FROM accounts) AS moves, (SELECT count(*) * 2 FROM moves) AS twice";
    let outcome = dir.run(&["sql", "--url", &url(dir), "--format", "csv", statement]);
    (outcome.code == 0).then(|| String::from_utf8(outcome.bytes).unwrap().lines().nth(1).unwrap().to_owned())
}

#[track_caller]
fn assert_balanced(books: &str) {
    let figures: Vec<&str> = books.split(',').collect();
    assert_eq!(figures[0], (ACCOUNTS * 100).to_string(), "{books}");
    assert_eq!(figures[1], figures[2], "half a transaction is visible: {books}");
}

/// The URL of a client that reads the files of the cache, and asks the sidecar for the rest.
fn attaching(dir: &Dir) -> String {
    format!("unix:{}", socket(dir).display())
}

/// The position of everything that the server has committed by now.
fn position(server: &Server) -> String {
    server.psql("SELECT pg_current_wal_flush_lsn()")
}

#[test]
fn a_sidecar_that_is_killed_while_it_follows_has_every_change_once() {
    let Some((server, config)) = bank("") else { return };
    let dir = Dir::empty();
    let mut seen = BTreeSet::new();
    for round in 0..6 {
        let sidecar = Sidecar::ready(&dir, &config);
        let mut writers: Vec<_> =
            (0..3).map(|writer| server.psql_beside(&transfers(60, round * 3 + writer))).collect();
        // It is killed after another number of looks each time, in the middle of whatever it does: at first of the copy.
        let mut looks = 0;
        while looks < round * 2 {
            let Some(books) = books(&dir) else { continue };
            assert_balanced(&books);
            seen.insert(books);
            looks += 1;
        }
        sidecar.signal(Signal::KILL);
        sidecar.wait();
        for writer in &mut writers {
            assert!(writer.wait().unwrap().success());
        }
    }
    let sidecar = Sidecar::ready(&dir, &config);
    let socket = attaching(&dir);
    // Clients that ask for everything, and those that read the files, wait for a position alike.
    for at in [format!("{socket}?attach=never"), socket] {
        server.psql(&transfers(3, 5));
        let client = Cache::from_url(&at).unwrap();
        let accounts = loop {
            match client.table("accounts") {
                Ok(table) => break table,
                Err(error) => assert_eq!(error.code(), ErrorCode::TableNotFound, "{error}"),
            }
        };
        let version = accounts.wait_for(position(&server), PATIENCE).unwrap();
        assert!(client.version().unwrap().sequence >= version.sequence);
        let held: Vec<String> = (1..=ACCOUNTS)
            .map(|id| {
                let row = accounts.get(i32::try_from(id).unwrap()).unwrap().unwrap();
                format!("{id}|{}|{}", row.get::<i32>("balance").unwrap(), row.get::<i32>("moves").unwrap())
            })
            .collect();
        assert_eq!(held.join("\n"), server.psql("SELECT * FROM accounts ORDER BY id"), "{at}");
        let late = accounts.wait_for("FFFFFF/0", Duration::from_millis(20)).unwrap_err();
        assert_eq!(late.code(), ErrorCode::Timeout, "{late}");
        let wrong = accounts.wait_for("nowhere", PATIENCE).unwrap_err();
        assert_eq!(wrong.code(), ErrorCode::InvalidArgument, "{wrong}");
        let report = accounts.audit().unwrap();
        assert_eq!((report.rows, report.divergent_rows), (u64::from(ACCOUNTS), 0), "{at}");
    }
    client_moves(&server, &dir);
    assert!(seen.len() > 3, "{} states were seen", seen.len());
    sidecar.end();
}

/// The moves are the server's, and their books are balanced at the end.
fn client_moves(server: &Server, dir: &Dir) {
    let moves = Cache::from_url(&attaching(dir)).unwrap().table("moves").unwrap();
    moves.wait_for(position(server), PATIENCE).unwrap();
    let books = books(dir).unwrap();
    assert_balanced(&books);
    assert_eq!(books.split(',').nth(2).unwrap(), server.psql("SELECT count(*) * 2 FROM moves"));
}

#[test]
fn the_command_audits_a_table_and_says_what_the_slot_costs() {
    let more = "audit_every = \"1 d\"\naudit_rows_per_second = 5000\n";
    let Some((server, config)) = bank(more) else { return };
    // Left over from a cache that is gone.
    server.psql("SELECT pg_create_logical_replication_slot('pillion_bank_deadbeef', 'pgoutput')");
    let dir = Dir::empty();
    let sidecar = Sidecar::ready(&dir, &config);
    let socket = attaching(&dir);
    let client = Cache::from_url(&socket).unwrap();
    while client.table("accounts").is_err() {
        std::thread::yield_now();
    }
    client.table("accounts").unwrap().wait_for(position(&server), PATIENCE).unwrap();
    let said = dir.answer(&["audit", "--url", &socket, "accounts"]);
    assert!(said.contains("compared   40 rows") && said.contains("differed   0 rows"), "{said}");
    let json: serde_json::Value =
        serde_json::from_str(&dir.answer(&["audit", "--url", &socket, "accounts", "--json"])).unwrap();
    assert_eq!((&json["rows"], &json["divergent_rows"]), (&40.into(), &0.into()), "{json}");
    let unknown = dir.run(&["audit", "--url", &socket, "account"]);
    assert!(unknown.code == 3 && unknown.errors.contains("accounts"), "{unknown:?}");
    // The slots, with what they cost and whose they are.
    let status = || -> serde_json::Value {
        serde_json::from_str(&dir.answer(&["status", "--url", &socket, "--format", "json"])).unwrap()
    };
    let following = |status: &serde_json::Value| status["refreshes"][0]["following"].clone();
    let names = loop {
        let names = following(&status())["names"].as_array().unwrap().clone();
        if names.len() == 2 {
            break names;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(names[0]["is_own"] == true && names[0]["bytes"].is_u64(), "{names:?}");
    assert_eq!(names[0]["user"], "postgres");
    assert_eq!((&names[1]["name"], &names[1]["is_own"]), (&"pillion_bank_deadbeef".into(), &false.into()));
    assert!(names[1]["user"].is_null() && names[1]["bytes"].as_u64().unwrap() > 0, "{names:?}");
    assert_eq!(following(&status())["audit"]["rows"], 40);
    let metrics = crate::probes::get(&sidecar, "/metrics").body;
    for series in [
        "pillion_follow_kept_bytes{source=\"bank\",name=\"pillion_bank_deadbeef\",own=\"false\"} ",
        "pillion_follow_phase{table=\"accounts\",phase=\"following\"} 1",
        "pillion_follow_phase{table=\"moves\",phase=\"stale\"} 0",
        "pillion_divergent_rows_total{table=\"accounts\"} 0",
        "pillion_audit_age_seconds{table=\"accounts\"} ",
        "pillion_follow_lag_bytes{source=\"bank\"} ",
        "pillion_follow_lag_seconds{source=\"bank\"} ",
    ] {
        assert!(metrics.contains(series), "{series} is not in {metrics}");
    }
    let shown = dir.answer(&["status", "--url", &socket]);
    assert!(shown.contains("pillion_bank_deadbeef") && shown.contains("nobody now"), "{shown}");
    sidecar.end();
}
