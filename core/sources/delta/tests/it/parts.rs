//! Partitions as parts, and refreshes of tables that fetch the changed ones only.

use pillion::source::{After, Fetch, Relation, Source, TableSource};
use pillion::{Cache, ErrorCode, TableDefinition, Value};

use crate::support::lake::{Lake, remove};
use crate::support::{call, rows, shown, try_rows};

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

#[test]
fn a_part_without_a_wanted_row_is_there() {
    let Some(lake) = Lake::new() else { return };
    lake.run(&format!("{PARTITIONED}\norders('eu', 0)\norders('us', 10)"));
    let (source, relation) = (lake.source(), Relation::table("orders"));
    let from = |id: i64| After { column: "id".to_owned(), value: Value::Int(id) };
    let of_eu = Fetch::of(relation.clone()).parts(["region=eu"]);
    assert_eq!(try_rows(&source, &of_eu.clone().after(from(10))).unwrap().num_rows(), 0);
    assert_eq!(shown(&try_rows(&source, &of_eu.clone().after(from(2))).unwrap()), ["2,text 2,eu"]);
    let fetched = source.fetch(&of_eu, &call()).unwrap();
    let described = source.describe(&relation, &call()).unwrap();
    assert_eq!(
        fetched.change_mark().unwrap(),
        described.change_mark().unwrap(),
        "it says of which version it is"
    );
}

/// As writers other than delta-rs may commit it.
#[test]
fn an_empty_text_is_not_null() {
    let Some(lake) = Lake::new() else { return };
    lake.run(&format!(
        "{PARTITIONED}
import shutil
orders('eu', 0)
add = [action['add'] for action in actions('orders', 0) if 'add' in action][0]
for name, region in (('empty', ''), ('null', None)):
    shutil.copy(f\"{{place('orders')}}/{{add['path']}}\", f\"{{place('orders')}}/{{name}}.parquet\")
    commit('orders', {{'add': add | {{'path': f'{{name}}.parquet', 'partitionValues': {{'region': region}}}}}})"
    ));
    let (source, relation) = (lake.source(), Relation::table("orders"));
    let described = source.describe(&relation, &call()).unwrap();
    let parts = described.all_parts().iter();
    let parts: Vec<_> = parts.map(|part| (part.name.as_str(), part.values[0].1.as_deref())).collect();
    assert_eq!(parts, [("region=%", None), ("region=", Some("")), ("region=eu", Some("eu"))]);
    let read = |part: &str| shown(&try_rows(&source, &Fetch::of(relation.clone()).parts([part])).unwrap());
    assert_eq!(read("region="), ["0,text 0,", "1,text 1,", "2,text 2,"]);
    assert_eq!(read("region=%"), ["0,text 0,-", "1,text 1,-", "2,text 2,-"]);
}

/// The files are the same before and after.
#[test]
fn a_column_that_is_made_anew_is_another_one() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "write('t', {'id': pa.array([1, 2], pa.int64()), 'price': [1.5, 2.5], 'region': ['eu', 'us']},
    configuration={'delta.columnMapping.mode': 'name'}, partition_by=['region'])",
    );
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    cache.add_source("lake", lake.source()).unwrap();
    let origin = TableSource::new("lake", Relation::table("t")).on_call();
    let table = cache.define_table("t", TableDefinition::from_source(origin).primary_key(["id"])).unwrap();
    let prices = || {
        let batches = table.scan_columns(["price"]).unwrap();
        let mut prices: Vec<String> = batches.flat_map(|batch| shown(&batch.unwrap())).collect();
        prices.sort();
        prices
    };
    assert_eq!(prices(), ["1.5", "2.5"]);
    let (source, relation) = (lake.source(), Relation::table("t"));
    let before = source.describe(&relation, &call()).unwrap().all_parts().to_vec();
    lake.run(
        "meta = [action['metaData'] for action in actions('t', 0) if 'metaData' in action][0]
schema = json.loads(meta['schemaString'])
field = [field for field in schema['fields'] if field['name'] == 'price'][0]
field['metadata'] |= {'delta.columnMapping.id': 9, 'delta.columnMapping.physicalName': 'col-made-anew'}
configuration = meta['configuration'] | {'delta.columnMapping.maxColumnId': '9'}
commit('t', {'metaData': meta | {'schemaString': json.dumps(schema), 'configuration': configuration}})",
    );
    assert_eq!(shown(&rows(&source, &relation)), ["1,-,eu", "2,-,us"]);
    let after = source.describe(&relation, &call()).unwrap().all_parts().to_vec();
    assert!(before.iter().zip(&after).all(|(before, after)| before.name == after.name && before != after));
    table.refresh().unwrap();
    assert_eq!(prices(), ["-", "-"]);
}
