//! The metrics are those that are documented, count what happens, and are the ones that the dashboard and the alerts use.

use std::collections::{BTreeMap, BTreeSet};

use pillion::Cache;

use crate::probes::{HEALTH, get, get_until};
use crate::sidecar::{Sidecar, config, url};
use crate::support::{Dir, items, write_parquet};

/// Tables of files and of a source, so that every family of metrics has lines.
const TABLES: &str = "[tables.items]\nfiles = \"items.parquet\"\nprimary_key = [\"id\"]\n\
    [sources.inbox]\nurl = \"./inbox\"\n[tables.landed]\nsource = \"inbox\"\nrelation = \"*.parquet\"\n";

fn started() -> (Dir, Sidecar) {
    let dir = Dir::empty();
    write_parquet(&dir.path("items.parquet"), &items());
    std::fs::create_dir(dir.path("inbox")).unwrap();
    write_parquet(&dir.path("inbox/a.parquet"), &items());
    let sidecar = Sidecar::ready(&dir, &config(&format!("{HEALTH}{TABLES}")));
    get_until(&sidecar, "/health/ready", |it| it.code == 200);
    (dir, sidecar)
}

/// A family: its type, the names of its labels, and its samples by name and labels as they are written.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    labels: BTreeSet<String>,
    samples: BTreeMap<String, f64>,
}

/// What the text of a scrape says, as a scraper reads it.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(!families.contains_key(name), "`{name}` comes twice");
            current = name.to_owned();
            families.insert(current.clone(), Family { kind: kind.to_owned(), ..Family::default() });
        } else if let Some(help) = line.strip_prefix("# HELP ") {
            assert!(help.split(' ').count() > 2, "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} is below `{current}`"));
            assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
            let family = families.get_mut(&current).unwrap();
            let labels = series.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
            let names = labels.split(',').filter_map(|label| label.split('=').next());
            family.labels.extend(names.filter(|name| !["", "le"].contains(name)).map(str::to_owned));
            family.samples.insert(series.to_owned(), value.parse().unwrap());
        }
    }
    families
}

fn scrape(sidecar: &Sidecar) -> BTreeMap<String, Family> {
    let response = get(sidecar, "/metrics");
    assert_eq!(response.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    parse(&response.body)
}

/// The value of a series, as it is written.
#[track_caller]
fn value(sidecar: &Sidecar, series: &str) -> f64 {
    let families = scrape(sidecar);
    let found = families.values().find_map(|family| family.samples.get(series));
    *found.unwrap_or_else(|| panic!("there is no {series}: {families:#?}"))
}

fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Names of metrics with their types and labels, as docs/metrics.md lists them.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut documented = BTreeMap::new();
    for line in file("docs/metrics.md").lines() {
        let Some(row) = line.strip_prefix("| `") else { continue };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [name, kind, labels, meaning, ..] = cells[..] else { panic!("{line}") };
        assert!(meaning.len() > 6, "{line}");
        let labels = labels.split(',').map(|label| label.trim().trim_matches('`'));
        let labels = labels.filter(|label| !label.is_empty()).map(str::to_owned).collect();
        let earlier = documented.insert(name.trim_end_matches('`').to_owned(), (kind.to_owned(), labels));
        assert!(earlier.is_none(), "`{name}` is documented twice");
    }
    documented
}

#[test]
fn the_document_lists_every_metric_and_no_other() {
    let (_dir, sidecar) = started();
    let documented = documented();
    let shown = scrape(&sidecar).into_iter().map(|(name, family)| {
        // No table follows here; `following.rs` looks at what such tables show.
        let labels = match documented.get(&name) {
            Some((_, labels)) if family.samples.is_empty() => labels.clone(),
            _ => family.labels,
        };
        (name, (family.kind, labels))
    });
    let shown: BTreeMap<String, (String, BTreeSet<String>)> = shown.collect();
    assert_eq!(documented, shown);
    for (name, (kind, _)) in &shown {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        let has_unit = name.ends_with("_seconds") || name.contains("_bytes") || !name.contains("duration");
        assert!(has_unit, "{name} has no unit");
    }
    sidecar.end();
}

/// A name in a dashboard or an alert that no sidecar shows would stay empty for ever.
#[test]
fn the_dashboard_and_the_alerts_use_metrics_that_there_are() {
    let documented = documented();
    for path in ["docs/operate/grafana-dashboard.json", "docs/operate/alerts.yaml"] {
        let text = file(path);
        let mut used = BTreeSet::new();
        for word in text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
            if word.starts_with("pillion_") || word.starts_with("process_") {
                let of_histogram =
                    ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
                let name = of_histogram.filter(|name| documented.contains_key(*name)).unwrap_or(word);
                assert!(documented.contains_key(name), "{path} names `{word}`, which is no metric");
                used.insert(name.to_owned());
            }
        }
        assert!(used.len() >= 5, "{path}: {used:?}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&file("docs/operate/grafana-dashboard.json")).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() >= 8);
    let alerts: serde_json::Value = serde_yaml_ng::from_str(&file("docs/operate/alerts.yaml")).unwrap();
    for rule in alerts["groups"][0]["rules"].as_array().unwrap() {
        for key in ["alert", "expr"] {
            assert!(rule[key].is_string(), "{rule}");
        }
        assert!(rule["annotations"]["summary"].is_string(), "{rule}");
    }
}

#[test]
fn every_counter_exists_before_anything_happened() {
    let (_dir, sidecar) = started();
    for series in [
        "pillion_call_failures_total{door=\"socket\",operation=\"sql\"}",
        "pillion_call_duration_seconds_count{door=\"socket\",operation=\"get\"}",
        "pillion_errors_total{code=\"too_many\"}",
        "pillion_lookup_keys_total{result=\"miss\"}",
        "pillion_connection_events_total{event=\"denied\"}",
        "pillion_refreshes_total{table=\"landed\",outcome=\"failed\"}",
        "pillion_upkeep_failures_total{work=\"fold\"}",
        "pillion_configuration_reloads_total{outcome=\"refused\"}",
        "pillion_slow_statements_total",
    ] {
        assert!(value(&sidecar, series).abs() < f64::EPSILON, "{series}");
    }
    sidecar.end();
}

#[test]
fn calls_lookups_statements_and_refreshes_are_counted() {
    let (dir, sidecar) = started();
    let near = |series: &str, wanted: f64| {
        let found = value(&sidecar, series);
        assert!((found - wanted).abs() < 0.5, "{series} is {found}, not {wanted}");
    };
    let cache = Cache::from_url(&url(&dir)).unwrap();
    let table = cache.table("items").unwrap();
    assert!(table.get(1).unwrap().is_some());
    assert!(table.get(2).unwrap().is_some());
    assert!(table.get(77).unwrap().is_none());
    assert_eq!(table.get_many(&[3, 78]).unwrap().iter().flatten().count(), 1);
    near("pillion_call_duration_seconds_count{door=\"socket\",operation=\"get\"}", 3.0);
    near("pillion_call_duration_seconds_bucket{door=\"socket\",operation=\"get\",le=\"+Inf\"}", 3.0);
    near("pillion_call_duration_seconds_count{door=\"socket\",operation=\"get_many\"}", 1.0);
    near("pillion_lookup_keys_total{result=\"hit\"}", 3.0);
    near("pillion_lookup_keys_total{result=\"miss\"}", 2.0);
    assert!(value(&sidecar, "pillion_call_answer_bytes_total{door=\"socket\",operation=\"get\"}") > 0.0);

    // By the engine, and by the point path, as text and as a plan.
    let rows = |batches: pillion::Batches| batches.concat().unwrap().num_rows();
    assert_eq!(rows(cache.sql("SELECT * FROM items WHERE price IS NOT NULL", &[]).unwrap()), 4);
    let by_key = cache.prepare("SELECT name FROM items WHERE id = $1").unwrap();
    for _ in 0..3 {
        assert_eq!(rows(by_key.execute(&[1.into()]).unwrap()), 1);
    }
    cache.sql("SELECT 1 FROM nowhere", &[]).unwrap_err();
    near("pillion_statement_rows_total", 7.0);
    near("pillion_statement_duration_seconds_count", 5.0);
    near("pillion_call_failures_total{door=\"socket\",operation=\"sql\"}", 1.0);
    near("pillion_errors_total{code=\"table_not_found\"}", 1.0);
    near("pillion_connections", 1.0);

    cache.refresh("landed").unwrap();
    assert!(value(&sidecar, "pillion_refreshes_total{table=\"landed\",outcome=\"succeeded\"}") >= 2.0);
    assert!(value(&sidecar, "pillion_refresh_duration_seconds_count{source=\"inbox\"}") >= 2.0);
    near("pillion_refresh_rows_total{table=\"landed\"}", 5.0);
    near("pillion_table_rows{table=\"landed\"}", 5.0);
    near("pillion_tables", 2.0);
    let age = value(&sidecar, "pillion_table_age_seconds{table=\"items\"}");
    assert!((0.0..600.0).contains(&age), "{age}");
    cache.compact().unwrap();
    assert!(value(&sidecar, "pillion_upkeep_duration_seconds_count{work=\"fold\"}") >= 1.0);
    drop((table, by_key, cache));
    get_until(&sidecar, "/metrics", |it| it.body.contains("\npillion_connections 0\n"));
    assert!(value(&sidecar, "pillion_connection_events_total{event=\"closed\"}") >= 1.0);
    sidecar.end();
}

#[test]
fn memory_is_split_and_adds_up() {
    let (_dir, sidecar) = started();
    let families = scrape(&sidecar);
    let kinds: f64 = families["pillion_memory_bytes"].samples.values().sum();
    let resident = families["process_resident_memory_bytes"].samples["process_resident_memory_bytes"];
    assert!((kinds - resident).abs() < 1.0, "{kinds} {resident}");
    assert!(families["pillion_memory_bytes"].samples["pillion_memory_bytes{kind=\"anonymous\"}"] > 0.0);
    assert!(families["pillion_disk_bytes"].samples["pillion_disk_bytes{purpose=\"segments\"}"] > 0.0);
    assert!(families["pillion_disk_bytes"].samples["pillion_disk_bytes{purpose=\"manifest\"}"] > 0.0);
    sidecar.end();
}
