//! TPC-B by `pgbench`: eight clients move money, while connections are cut, the server crashes and the cache is closed and opened at random.
//! Accounts, tellers and branches have the same sum at every version that a reader sees.
//!
//! `PILLION_PGBENCH_SECONDS` says for how long, and `PILLION_TEST_SEED` repeats the random choices.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use pillion::source::TableSource;
use pillion::{Cache, CacheOptions, Durability, TableDefinition};

use super::*;
use crate::support::proxy::{Fate, Proxy};
use crate::support::report::{add, not_run};
use crate::support::server::SECRET;

const TABLES: [(&str, &str); 3] =
    [("pgbench_accounts", "aid"), ("pgbench_tellers", "tid"), ("pgbench_branches", "bid")];
/// The runner of the tests ends one that waits for ever.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long clients run before the next ones do.
const ROUND_SECONDS: u64 = 2;

fn pgbench(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new("pgbench");
    command.args(["-h", "127.0.0.1", "-U", "postgres", "-p"]).arg(server.port().to_string()).args(arguments);
    command.arg("postgres").env("PGPASSWORD", SECRET).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn open(dir: &Path, proxy: &Proxy, server: &Server) -> Cache {
    let cache = CacheOptions::new().durability(Durability::Never).open(dir).unwrap();
    let source = Postgres::from_url(&server.url_at(proxy.port(), "sslmode=disable")).unwrap();
    cache.add_source("bank", source).unwrap();
    for (table, key) in TABLES {
        let origin = TableSource::new("bank", Relation::table(table)).changes();
        cache.follow_table(table, TableDefinition::from_source(origin).primary_key([key])).unwrap();
    }
    cache
}

/// The sums of all balances at one version.
fn sums(cache: &Cache) -> [i64; 3] {
    let snapshot = cache.snapshot().unwrap();
    let statement = "SELECT (SELECT CAST(sum(abalance) AS BIGINT) FROM pgbench_accounts) AS a, \
        (SELECT CAST(sum(tbalance) AS BIGINT) FROM pgbench_tellers) AS t, (SELECT CAST(sum(bbalance) AS BIGINT) FROM pgbench_branches) AS b";
    let rows = snapshot.sql(statement, &[]).unwrap().concat().unwrap();
    [0, 1, 2].map(|column| rows.column(column).as_primitive::<Int64Type>().value(0))
}

#[test]
fn the_sums_of_pgbench_agree_at_every_version() {
    let seconds = std::env::var("PILLION_PGBENCH_SECONDS").map_or(8, |seconds| seconds.parse().unwrap());
    let Some(mut server) = server_with(&[]) else { return };
    if Command::new("pgbench").arg("--version").stdout(Stdio::null()).status().is_err() {
        return not_run("pgbench is not installed");
    }
    assert!(pgbench(&server, &["-i", "-q", "-s", "1"]).status().unwrap().success());
    let mut random = Random::new(20_130_109);
    let (dir, proxy) = (tempfile::tempdir().unwrap(), Proxy::start(server.port(), Fate::CutAfter(u64::MAX)));
    let mut cache = open(dir.path(), &proxy, &server);
    for (table, _) in TABLES {
        cache.refresh(table).unwrap();
    }
    let (mut seen, mut last) = (0_u64, None);
    let (mut cuts, mut crashes, mut openings) = (0, 0, 0);
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        let duration = ROUND_SECONDS.to_string();
        let mut clients = pgbench(&server, &["-n", "-c", "8", "-j", "2", "-T", &duration]).spawn().unwrap();
        while clients.try_wait().unwrap().is_none() {
            let sums = sums(&cache);
            assert!(sums[0] == sums[1] && sums[1] == sums[2], "half a transaction is visible: {sums:?}");
            if last.replace(sums) != Some(sums) {
                seen += 1;
            }
            match random.below(40) {
                0 => {
                    proxy.cut(Fate::CutAfter(20_000 + random.below(400_000)));
                    cuts += 1;
                }
                1 => {
                    drop(cache);
                    proxy.cut(Fate::CutAfter(u64::MAX));
                    cache = open(dir.path(), &proxy, &server);
                    openings += 1;
                }
                2 if random.below(3) == 0 => {
                    server.crash();
                    crashes += 1;
                }
                _ => {}
            }
        }
    }
    proxy.cut(Fate::CutAfter(u64::MAX));
    drop(cache);
    let cache = open(dir.path(), &proxy, &server);
    let position = server.psql("SELECT pg_current_wal_flush_lsn()");
    for (table, _) in TABLES {
        let table = cache.table(table).unwrap();
        table.wait_for(&position, PATIENCE).unwrap();
        let report = table.audit().unwrap();
        assert_eq!((report.divergent_rows, &report.divergent), (0, &Vec::new()), "{}", report.table);
    }
    let there = server.psql("SELECT sum(bbalance) FROM pgbench_branches");
    assert_eq!(sums(&cache)[2].to_string(), there);
    assert!(seen > 10, "{seen} versions");
    let transactions = server.psql("SELECT count(*) FROM pgbench_history");
    add(format_args!(
        "pgbench: sums agree at {seen} versions of {transactions} transactions, {cuts} cuts, {crashes} crashes of the server, {openings} openings of the cache"
    ));
}
