//! Partitions as parts, and refreshes of tables that fetch the changed ones only.

use pillion::source::{Fetch, Relation, Source, TableSource};
use pillion::{Cache, ErrorCode, TableDefinition};

use crate::support::lake::{Lake, remove};
use crate::support::{call, shown, try_rows};

const PARTITIONED: &str = "
def orders(region, first, **options):
    write('orders', numbers(first, 3).append_column('region', pa.array([region] * 3)), partition_by=['region'], **options)
";

#[test]
fn each_partition_is_a_part() {
    let Some(lake) = Lake::new() else { return };
    lake.run(&format!("{PARTITIONED}\norders('eu', 0)\norders('us', 10)\norders('eu', 20)"));
    let (source, relation) = (lake.source(), Relation::table("orders"));
    let parts = |source: &dyn Source| source.describe(&relation, &call()).unwrap().all_parts().to_vec();
    let before = parts(&source);
    let names: Vec<&str> = before.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["region=eu", "region=us"]);
    assert_eq!(before[0].values, [("region".to_owned(), Some("eu".to_owned()))]);
    let us = try_rows(&source, &Fetch::of(relation.clone()).parts(["region=us"])).unwrap();
    assert_eq!(shown(&us), ["10,text 10,us", "11,text 11,us", "12,text 12,us"]);
    lake.run(&format!("{PARTITIONED}\norders('us', 30)"));
    let after = parts(&source);
    assert_eq!((before[0] == after[0], before[1] == after[1]), (true, false));
    let unknown = try_rows(&source, &Fetch::of(relation.clone()).parts(["region=as"])).unwrap_err();
    assert_eq!(unknown.code(), ErrorCode::SourceNotFound);
    let hidden = source.describe(&relation.leave_out(["region"]), &call()).unwrap();
    assert!(hidden.all_parts().iter().all(|part| part.values.is_empty()), "rows do not show it");
}

#[test]
fn a_refresh_fetches_changed_partitions_only() {
    let Some(lake) = Lake::new() else { return };
    lake.run(&format!("{PARTITIONED}\norders('eu', 0)\norders('us', 10)"));
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    cache.add_source("lake", lake.source()).unwrap();
    let origin = TableSource::new("lake", Relation::table("orders")).on_call();
    let table =
        cache.define_table("orders", TableDefinition::from_source(origin).primary_key(["id"])).unwrap();
    table.refresh().unwrap();
    assert_eq!(table.info().unwrap().rows, 6);
    // Nothing of the other partition is read again: its file is gone.
    let eu: Vec<_> = lake
        .data_files("orders")
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("region=eu"))
        .collect();
    assert_eq!(eu.len(), 1);
    remove(&eu);
    lake.run(&format!("{PARTITIONED}\norders('us', 50, mode='overwrite', predicate=\"region = 'us'\")"));
    table.refresh().unwrap();
    assert!(table.get(0_i64).unwrap().is_some(), "of the partition that stayed");
    assert!(table.get(10_i64).unwrap().is_none() && table.get(52_i64).unwrap().is_some());
    // A refresh that needs the missing file fails, and the old rows are read on.
    lake.run(&format!("{PARTITIONED}\norders('eu', 70)"));
    let failed = table.refresh().unwrap_err();
    assert_eq!(failed.code(), ErrorCode::SourceUnavailable, "{failed:?}");
    assert_eq!(table.info().unwrap().rows, 6);
    assert!(table.get(52_i64).unwrap().is_some());
}
