//! Tables that a source feeds, and those that hold only some of its rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use pillion::source::{Call, Capabilities, Description, Fetch, Fetched, Relation, Source, TableSource};
use pillion::{Error, ErrorCode, OnMiss, Result, TableDefinition};
use pillion_access::{Permissions, Tables};
use pillion_http::HttpOptions;
use serde_json::Value;

use crate::support::{Served, everything, listen, soon, token};

/// Rows in memory, or none because its host is away.
#[derive(Debug)]
struct Held(Option<RecordBatch>);

impl Source for Held {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn relations(&self, _: &Call) -> Result<Vec<String>> {
        Err(Error::new(ErrorCode::Unsupported, "there is one relation"))
    }

    fn describe(&self, _: &Relation, _: &Call) -> Result<Description> {
        let away = || Error::new(ErrorCode::SourceUnavailable, "secret-host.example does not answer");
        self.0.as_ref().map(|rows| Description::new(rows.schema())).ok_or_else(away)
    }

    fn fetch(&self, _: &Fetch, call: &Call) -> Result<Fetched> {
        self.describe(&Relation::table("t"), call)?;
        let rows = self.0.clone().into_iter();
        Ok(Fetched::new(rows.clone().next().unwrap().schema(), rows.map(Ok)))
    }
}

/// The rows, once they are let through.
#[derive(Debug)]
struct Gated(Arc<Gate>);

#[derive(Debug, Default)]
struct Gate {
    is_closed: AtomicBool,
    waiting: AtomicUsize,
}

impl Source for Gated {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn relations(&self, call: &Call) -> Result<Vec<String>> {
        Held(None).relations(call)
    }

    fn describe(&self, _: &Relation, _: &Call) -> Result<Description> {
        Ok(Description::new(numbers().schema()))
    }

    fn fetch(&self, fetch: &Fetch, call: &Call) -> Result<Fetched> {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        while self.0.is_closed.load(Ordering::SeqCst) {
            call.check()?;
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        Held(Some(numbers())).fetch(fetch, call)
    }
}

fn numbers() -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5));
    RecordBatch::try_from_iter([("id", ids)]).unwrap()
}

/// With the tables `some` and `partly`, each of which has the rows below 3 of the source.
fn served() -> Served {
    let refreshes = Permissions { refresh: Tables::All, ..Permissions::default() };
    let tokens = [
        ("reader", Permissions { read: Tables::All, ..Permissions::default() }),
        ("refresher", refreshes),
        ("admin", everything()),
    ];
    let served = Served::with(HttpOptions::new(listen()), &tokens, None);
    served.cache.add_source("numbers", Held(Some(numbers()))).unwrap();
    for (name, on_miss) in [("some", OnMiss::Error), ("partly", OnMiss::Local)] {
        let source = TableSource::new("numbers", Relation::table("t")).on_call().rows_where("id < 3");
        let definition = TableDefinition::from_source(source.on_miss(on_miss)).primary_key(["id"]);
        served.cache.define_table(name, definition).unwrap();
    }
    served
}

fn as_admin(served: &Served, method: &str, path: &str, body: &str) -> crate::support::Reply {
    let bearer = format!("Bearer {}", token("admin"));
    let headers = [("authorization", bearer.as_str()), ("content-type", "text/plain")];
    served.send(method, path, &headers, body.to_owned())
}

#[test]
fn rows_of_a_source_are_said_to_be_and_hold_up_nobody_while_it_is_asked() {
    let (served, gate) = (served(), Arc::new(Gate::default()));
    served.cache.add_source("gated", Gated(gate.clone())).unwrap();
    let source = TableSource::new("gated", Relation::table("t")).on_call().rows_where("id < 3");
    let definition = TableDefinition::from_source(source.on_miss(OnMiss::Delegate)).primary_key(["id"]);
    served.cache.define_table("asked", definition).unwrap();
    let get = |key: u32| as_admin(&served, "GET", &format!("/v1/tables/asked/{key}"), "");
    let (held, fetched) = (get(1), get(4));
    assert_eq!((held.status, held.header("pillion-tier")), (200, "local"));
    assert_eq!((fetched.status, fetched.header("pillion-tier")), (200, "delegated"));
    assert!(fetched.header("pillion-as-of") > held.header("pillion-as-of"));
    let none = get(9);
    assert_eq!((none.status, none.header("pillion-tier")), (404, "delegated"));
    gate.is_closed.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..6).map(|_| scope.spawn(|| get(4))).collect();
        soon("all wait for the source", || gate.waiting.load(Ordering::SeqCst) == 6);
        assert_eq!(get(1).status, 200);
        gate.is_closed.store(false, Ordering::SeqCst);
        for reply in waiting {
            assert_eq!(reply.join().unwrap().status, 200);
        }
    });
}

#[test]
fn answers_of_working_sets_say_whether_they_are_complete() {
    let served = served();
    let sql = |statement: &str| as_admin(&served, "POST", "/v1/sql", statement);
    let whole = sql("SELECT * FROM some WHERE id < 2");
    assert_eq!(whole.json().as_array().unwrap().len(), 2);
    assert_eq!(whole.header("pillion-extent"), "complete");
    let shown: Value = serde_json::from_str(whole.header("pillion-certificate")).unwrap();
    assert_eq!((&shown["table"], &shown["complete"]), (&"some".into(), &true.into()), "{shown}");
    assert!(shown["coverage"].as_str().unwrap().contains("id < 3"), "{shown}");
    let partial = sql("SELECT * FROM partly");
    assert_eq!((partial.json().as_array().unwrap().len(), partial.header("pillion-extent")), (3, "partial"));
    let shown: Value = serde_json::from_str(partial.header("pillion-certificate")).unwrap();
    assert_eq!(shown["complete"], false, "{shown}");
    // Tables that hold everything need no proof.
    let items = sql("SELECT * FROM items");
    assert_eq!(items.header("pillion-extent"), "complete");
    assert!(!items.headers.contains_key("pillion-certificate"));
    // What may need other rows is refused, with a status of its own.
    let missed = sql("SELECT * FROM some").problem(424, "NotCovered", "id < 3");
    assert_eq!((&missed["code"], &missed["kind"]), (&119.into(), &"request".into()));
    assert!(missed["hint"].as_str().unwrap().contains("source"));
    as_admin(&served, "GET", "/v1/tables/some/4", "").problem(424, "NotCovered", "");
    as_admin(&served, "GET", "/v1/tables/partly/4", "").problem(404, "RowNotFound", "");
    let described = as_admin(&served, "GET", "/v1/tables/partly", "").json();
    assert_eq!(described["holds"], serde_json::json!({ "where": "id < 3", "on_miss": "local" }));
}

#[test]
fn where_rows_come_from_is_for_administrators() {
    let served = served();
    served.cache.replace_source("numbers", Held(None)).unwrap();
    as_admin(&served, "POST", "/v1/tables/some/refresh", "").problem(502, "SourceUnavailable", "secret-host");
    let bearer = format!("Bearer {}", token("refresher"));
    let of_refresher = served.send("POST", "/v1/tables/some/refresh", &[("authorization", &bearer)], "");
    of_refresher.problem(502, "SourceUnavailable", "the refresh failed");
    assert!(!of_refresher.text().contains("secret-host"), "{}", of_refresher.text());
    let of_admin = as_admin(&served, "GET", "/v1/tables/some", "").json();
    assert_eq!(of_admin["refresh"]["source"], "numbers");
    assert!(of_admin["refresh"]["last_error"].as_str().unwrap().contains("secret-host"), "{of_admin}");
    let bearer = format!("Bearer {}", token("reader"));
    let of_reader = served.send("GET", "/v1/tables/some", &[("authorization", &bearer)], "");
    let refresh = &of_reader.json()["refresh"];
    assert!(refresh["failures"].as_u64().unwrap() > 0 && refresh.get("source").is_none(), "{refresh}");
    assert!(!of_reader.text().contains("secret-host"), "{}", of_reader.text());
}
