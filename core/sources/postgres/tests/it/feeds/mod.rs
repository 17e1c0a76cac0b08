//! Changes of tables on real servers.

mod audits;
mod cache;
mod checks;
mod ends;
mod following;
mod keys;
mod model;
mod pgbench;
mod planted;
mod refusals;
mod replica;
mod reshaped;
mod transactions;
mod widened;

use std::process::Child;

use pillion::Result;
use pillion::source::{Call, ChangeFeed, Changes, FeedSnapshot, Follow, Followed, Relation, Source};
use pillion_postgres::Postgres;

use self::replica::Replica;
use crate::support::random::Random;
use crate::support::rows::patient;
use crate::support::server::Server;

const SETTINGS: [&str; 2] = ["wal_level=logical", "max_wal_senders=4"];

/// A server that can be followed.
fn server_with(more: &[&str]) -> Option<Server> {
    Server::start_with(|_| SETTINGS.iter().chain(more).map(ToString::to_string).collect())
}

/// The same with the tables of an order book. Values of `note` are out of line as soon as they are long.
fn shop() -> Option<Server> {
    let server = server_with(&[])?;
    server.psql(
        "CREATE TABLE orders (id int PRIMARY KEY, item text, total numeric(10,2), note text, placed timestamptz); \
         ALTER TABLE orders ALTER note SET STORAGE EXTERNAL; \
         CREATE TABLE lines (id bigint, part int, word varchar(20) NOT NULL, PRIMARY KEY (id, part)); \
         CREATE TABLE other (id int PRIMARY KEY);",
    );
    Some(server)
}

/// Three writers at once, each of which runs so many random transactions.
fn writers(server: &Server, random: &mut Random, transactions: u32) -> Vec<Child> {
    let script = |random: &mut Random, writer| -> String {
        (0..transactions).map(|_| model::transaction(random, writer)).collect()
    };
    (1..=3).map(|writer| server.psql_beside(&script(random, writer))).collect()
}

fn follow() -> Follow {
    Follow::new("pillion_shop", [Relation::table("orders"), Relation::table("public.lines")])
}

/// A follower that has a copy of everything.
struct Follower {
    follow: Follow,
    columns: Vec<Followed>,
    replica: Replica,
    position: Vec<u8>,
}

impl Follower {
    /// Fetches a first copy.
    fn copy(source: &Postgres, follow: Follow) -> Result<Self> {
        let snapshot = source.snapshot(&follow, &patient())?;
        Self::of(snapshot, follow)
    }

    fn of(mut snapshot: Box<dyn FeedSnapshot>, follow: Follow) -> Result<Self> {
        let relations = 0..follow.relations().len();
        let columns = relations.clone().map(|relation| snapshot.describe(relation, &patient()));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let mut replica = Replica::new(&columns);
        for relation in relations {
            for batch in snapshot.fetch(relation, &patient())? {
                replica.load(relation, &batch?);
            }
        }
        let position = snapshot.position().to_vec();
        Ok(Self { follow, columns, replica, position })
    }

    /// Follows after the position.
    fn changes(&self, source: &Postgres) -> Result<Changes> {
        source.changes(&self.follow, &self.columns, &self.position, &patient())
    }

    fn feed(&self, source: &Postgres) -> Box<dyn ChangeFeed> {
        match self.changes(source).unwrap() {
            Changes::Feed(feed) => feed,
            Changes::Lost(why) => panic!("{why}"),
        }
    }

    /// Follows for one event.
    fn step(&mut self, feed: &mut dyn ChangeFeed, call: &Call) -> Result<pillion::source::FeedEvent> {
        let event = feed.next(call)?;
        if let Some(position) = self.replica.apply(&event) {
            self.position = position;
        }
        Ok(event)
    }

    /// Follows to the end of so many transactions.
    fn transactions(&mut self, feed: &mut dyn ChangeFeed, count: usize) {
        let target = self.replica.transactions() + count;
        while self.replica.transactions() < target {
            self.step(feed, &patient()).unwrap();
        }
    }

    /// Follows until everything that the server has by now came.
    fn catch_up(&mut self, feed: &mut dyn ChangeFeed, server: &Server) -> Result<()> {
        server.psql("INSERT INTO lines VALUES (-1, -1, 'mark')");
        while !self.replica.has(1, &["-1", "-1"]) {
            self.step(feed, &patient())?;
        }
        server.psql("DELETE FROM lines WHERE id = -1");
        while self.replica.has(1, &["-1", "-1"]) {
            self.step(feed, &patient())?;
        }
        Ok(())
    }

    /// Compares with what the server has.
    #[track_caller]
    fn assert_same(&self, source: &Postgres) {
        for (relation, table) in self.follow.relations().iter().enumerate() {
            let fetch = pillion::source::Fetch::of(table.clone());
            let rows = crate::support::rows::sorted(&crate::support::rows::all(source, &fetch).unwrap());
            assert_eq!(self.replica.lines(relation), rows, "{}", table.text());
        }
    }
}
