//! A Pillion as the source of a Pillion.

use std::time::Duration;

use pillion::source::{Relation, TableSource};
use pillion::{Cache, TableDefinition};
use pillion_access::{Permissions, Tables};
use pillion_flight::FlightOptions;
use pillion_flight_sql::{FlightSqlOptions, Secret};

use crate::support::{Served, listen};

#[test]
fn another_cache_fetches_its_tables_from_the_door() {
    let permissions = Permissions { read: Tables::All, ..Permissions::default() };
    let served = Served::with(FlightOptions::new(listen()), &[("reader", permissions)], None);
    served.define_many();
    let source = FlightSqlOptions::from_url(&format!("grpc://{}", served.address()))
        .unwrap()
        .token(Secret::File(served.dir.path().join("reader")))
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    cache.add_source("central", source).unwrap();
    for (table, key) in [("items", vec!["id"]), ("many", vec!["id"])] {
        let fed = TableSource::new("central", Relation::table(table)).every(Duration::from_secs(3600));
        cache.define_table(table, TableDefinition::from_source(fed).primary_key(key)).unwrap();
        cache.refresh(table).unwrap();
    }
    let rows = |cache: &Cache, text: &str| cache.sql(text, &[]).unwrap().concat().unwrap();
    for text in [
        "SELECT count(*), sum(id), min(text), max(text) FROM many",
        "SELECT id, name, exact, day, raw FROM items ORDER BY id",
    ] {
        assert_eq!(rows(&cache, text), rows(&served.cache, text), "{text}");
    }
}
