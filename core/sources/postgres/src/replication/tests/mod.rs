//! Streams of real servers.

mod ends;
mod logins;
mod slots;
mod streams;
#[expect(dead_code, reason = "the tests of the whole crate use the rest")]
#[path = "../../../tests/it/support/mod.rs"]
mod support;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use self::support::server::Server;
use super::connection::Connection;
use super::publication::{PublicationName, SlotName};
use super::slot::CreatedSlot;
use super::stream::{ChangeStream, Received, Started};
use crate::changes::{Decoder, Lsn, shown};
use crate::options::PostgresOptions;

const SETTINGS: [&str; 2] = ["wal_level=logical", "max_wal_senders=4"];

fn server_with(more: &[&str]) -> Option<Server> {
    Server::start_with(|_| SETTINGS.iter().chain(more).map(ToString::to_string).collect())
}

/// A server with a table `t`, which the publication `p` has.
fn server() -> Option<Server> {
    let server = server_with(&[])?;
    server.psql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (id int); CREATE PUBLICATION p FOR TABLE t;");
    Some(server)
}

fn options_at(server: &Server, port: u16) -> Arc<PostgresOptions> {
    Arc::new(PostgresOptions::from_url(&server.url_at(port, "sslmode=disable")).unwrap())
}

fn options(server: &Server) -> Arc<PostgresOptions> {
    options_at(server, server.port())
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // Far more than any test needs.
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), test).await.unwrap() })
}

fn slot_name() -> SlotName {
    SlotName::new("s").unwrap()
}

fn publication() -> PublicationName {
    PublicationName::new("p").unwrap()
}

/// Makes the slot `s`. The connection keeps its snapshot.
async fn create(options: &Arc<PostgresOptions>) -> (Connection, CreatedSlot) {
    let mut connection = Connection::open(options.clone()).await.unwrap();
    connection.prepare().await.unwrap();
    let created = connection.create_slot(&slot_name(), Duration::from_secs(60), options).await.unwrap();
    (connection, created)
}

/// Streams from the slot `s` after a position.
async fn start(options: &Arc<PostgresOptions>, after: Lsn) -> pillion::Result<Started> {
    let mut connection = Connection::open(options.clone()).await?;
    connection.prepare().await?;
    let identifier = connection.system().await?.identifier;
    connection.start(&slot_name(), &publication(), identifier, after).await
}

async fn stream(options: &Arc<PostgresOptions>, after: Lsn) -> ChangeStream {
    match start(options, after).await.unwrap() {
        Started::Stream(stream) => stream,
        Started::Lost(why) => panic!("{why}"),
    }
}

/// The changes of rows up to the end of the next commit, as texts, and where that is.
async fn transaction(stream: &mut ChangeStream, decoder: &mut Decoder) -> (Vec<String>, Lsn) {
    let mut changes = Vec::new();
    loop {
        let Received::Message { message, .. } = stream.next().await.unwrap() else { continue };
        let message = decoder.message(&message).unwrap();
        match &message {
            crate::changes::Message::Commit(commit)
            | crate::changes::Message::StreamCommit { commit, .. } => return (changes, commit.end),
            message => changes.push(shown::shown(message)),
        }
    }
}

/// Waits for a position up to which everything came, and that `is_enough`.
async fn up_to(stream: &mut ChangeStream, is_enough: impl Fn(Lsn) -> bool) -> Lsn {
    loop {
        if let Received::UpTo { end, .. } = stream.next().await.unwrap()
            && is_enough(end)
        {
            return end;
        }
    }
}

fn lsn(server: &Server, query: &str) -> Lsn {
    server.psql(query).parse().unwrap()
}
