//! Tables that hold some rows of their source, which answers the rest.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use pillion::source::{Call, Capabilities, Description, Fetch, Fetched, Relation, Source, TableSource};
use pillion::{Cache, ErrorCode, OnMiss, ReadBounds, Result, Row, TableDefinition, Tier};

use crate::model::{name_of, numbered, numbered_schema, refused};
use crate::{Outcome, Session};

/// Statements over a table `t`, and who answers them.
const STATEMENTS: &[(&str, Tier)] = &[
    ("SELECT id, name FROM t WHERE id < 3 ORDER BY id", Tier::Local),
    ("SELECT name FROM t WHERE id = 2", Tier::Local),
    ("SELECT name FROM t WHERE id = 8", Tier::Delegated),
    ("SELECT count(*) AS c, min(id) AS a, max(name) AS b FROM t", Tier::Delegated),
    ("SELECT id + 1 AS next, name FROM t WHERE id > 4 ORDER BY id DESC LIMIT 3", Tier::Delegated),
    (
        "SELECT w.id FROM whole w LEFT JOIN t AS o ON w.id = o.id AND o.id > 6 WHERE o.id IS NULL ORDER BY 1",
        Tier::Mixed,
    ),
    (
        "SELECT id FROM whole WHERE NOT EXISTS (SELECT 1 FROM t AS o WHERE o.id = whole.id AND o.id <> 5)",
        Tier::Mixed,
    ),
];

/// The rows 0 to 9 of a table of numbers.
#[derive(Debug)]
struct Numbers;

impl Source for Numbers {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn relations(&self, _: &Call) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn describe(&self, _: &Relation, _: &Call) -> Result<Description> {
        Ok(Description::new(numbered_schema()))
    }

    fn fetch(&self, _: &Fetch, _: &Call) -> Result<Fetched> {
        Ok(Fetched::new(numbered_schema(), [0, 5].map(|first| Ok(numbered(first..first + 5)))))
    }
}

/// A table `t` that holds the rows below 3, and `whole` with all of them.
fn define(session: &mut Session<'_>) -> Outcome {
    let owner = session.owner();
    owner.add_source("numbers", Numbers)?;
    let from = || TableSource::new("numbers", Relation::table("numbers")).on_call();
    let keyed = |from: TableSource| TableDefinition::from_source(from).primary_key(["id"]);
    owner.define_table("t", keyed(from().rows_where("id < 3").on_miss(OnMiss::Delegate)))?;
    owner.define_table("whole", keyed(from()))?;
    Ok(())
}

/// A query that needs rows which are not held is answered as by a full copy, or says who could answer it.
pub fn queries_are_those_of_a_full_copy(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let (cache, asks) = (session.cache(), session.asks_sources());
    for (statement, tier) in STATEMENTS {
        let of = |table: &str| {
            let statement = statement.replace("FROM t AS", &format!("FROM {table} AS"));
            statement
                .replace("JOIN t AS", &format!("JOIN {table} AS"))
                .replace("FROM t", &format!("FROM {table}"))
        };
        let answer = cache.sql(&of("t"), &[]);
        if !asks && *tier != Tier::Local {
            refused(answer, ErrorCode::NotCovered);
            continue;
        }
        let answer = answer?;
        assert_eq!(answer.tier(), *tier, "{statement}");
        assert!(answer.certificate().is_complete(), "{statement}");
        let (found, expected) = (answer.concat()?, cache.sql(&of("whole"), &[])?.concat()?);
        assert_eq!(names_and_types(&found), names_and_types(&expected), "{statement}");
        assert_eq!(found.columns(), expected.columns(), "{statement}");
    }
    let partly = cache.sql_within(ReadBounds::new().or_partial(), "SELECT id FROM t", &[])?;
    assert_eq!(partly.certificate().is_complete(), asks);
    assert_eq!(partly.concat()?.num_rows(), if asks { 10 } else { 3 });
    Ok(())
}

/// A key that is not held is looked up at the source, and so are all rows.
pub fn rows_are_those_of_a_full_copy(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let table = session.table("t")?;
    assert_eq!(shown(table.get(2)?), Some((name_of(2), Tier::Local)));
    if !session.asks_sources() {
        for result in [table.get(7).map(drop), table.get_many(&[1, 7]).map(drop), table.scan().map(drop)] {
            refused(result, ErrorCode::NotCovered);
        }
        return Ok(());
    }
    assert_eq!(shown(table.get(7)?), Some((name_of(7), Tier::Delegated)));
    assert_eq!(shown(table.get(70)?), None);
    let rows: Vec<_> = table.get_many(&[7, 1, 70, 7])?.into_iter().map(shown).collect();
    let seven = Some((name_of(7), Tier::Delegated));
    assert_eq!(rows, [seven.clone(), Some((name_of(1), Tier::Local)), None, seven]);
    let authoritative = table.get_within(ReadBounds::new().authoritative(), 1)?;
    assert_eq!(shown(authoritative), Some((name_of(1), Tier::Delegated)));
    let all = table.scan()?;
    assert_eq!(all.tier(), Tier::Delegated);
    assert_eq!(all.concat()?, whole(&session.cache())?);
    Ok(())
}

/// Whether a column may be null is not among them: DataFusion knows more of values that it takes from statistics.
fn names_and_types(batch: &RecordBatch) -> Vec<(String, DataType)> {
    let schema = batch.schema();
    schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

fn whole(cache: &Cache) -> Result<RecordBatch> {
    cache.table("whole")?.scan()?.concat()
}

fn shown(row: Option<Row>) -> Option<(String, Tier)> {
    let row = row?;
    Some((row.get::<&str>("name").ok()?.to_owned(), row.tier()))
}
