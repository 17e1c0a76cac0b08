//! Joins on a key whose sides are split by their keys, answered as by plain DataFusion.

use arrow::datatypes::DataType;
use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionConfig;

use super::foreign::{answer, context_of_config};
use super::key_joins::{large, small, statements, table_of};
use super::oracle::Oracle;
use super::statements::Statement;
use crate::{CacheOptions, TableDefinition};

#[test]
fn joins_in_partitions_look_rows_up_too() {
    let dir = tempfile::tempdir().unwrap();
    let cache = CacheOptions::new().query_threads(1).open(dir.path()).unwrap();
    let types = [DataType::Int64];
    let b = table_of(large(&cache, &types, &[]));
    let s = table_of(small(&types, 90));
    cache.define_table("s", TableDefinition::new(s.rows.clone())).unwrap();
    let oracle = Oracle::new(&[("s", &s), ("b", &b)]);
    let mut config = SessionConfig::new().with_target_partitions(3);
    // No side is small enough to be read by all threads.
    config.options_mut().optimizer.hash_join_single_partition_threshold = 0;
    config.options_mut().optimizer.hash_join_single_partition_threshold_rows = 0;
    let context = context_of_config(&cache, config, true, true);
    let mut looked_up = 0;
    for text in statements(&types) {
        let statement = Statement { text, order: None };
        let expected = oracle.answer(&statement).unwrap().sorted();
        let found = answer(&context, &statement.text).unwrap().sorted();
        assert_eq!(found, expected, "{}", statement.text);
        let plan =
            pollster::block_on(async { context.sql(&statement.text).await?.create_physical_plan().await });
        let plan = displayable(plan.unwrap().as_ref()).indent(false).to_string();
        let mut lines = plan.lines().skip_while(|line| !line.contains("PillionIndexJoin"));
        looked_up += usize::from(lines.nth(1).is_some_and(|line| line.contains("mode=Partitioned")));
    }
    assert!(looked_up >= 10, "{looked_up} statements look rows up in partitions");
    drop(context);
    cache.close().unwrap();
}
