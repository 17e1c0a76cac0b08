//! Statements that name rows by their keys, run again and again: what is remembered of one run must suit the next.

use arrow::array::AsArray;
use arrow::array::types::Int64Type;
use arrow::datatypes::DataType;
use pillion::{Cache, ErrorCode, Value};

use crate::concurrency::{ROWS, beside, round};
use crate::model::{assert_rows, assert_rows_in_any_order, batch, name_of, numbered, refused, vals};
use crate::{Outcome, Session};

/// Texts that differ only in their literals.
pub fn each_text_finds_its_own_row(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(-5..100))?;
    session.upsert("t", numbered([200]))?;
    for id in [0, 7, -5, 99, 100, -6, 200, i64::MAX] {
        let found = session.sql(&format!("SELECT name AS n, id FROM t AS x WHERE x.id = {id}"), &[])?;
        let expected =
            if (-5..100).contains(&id) || id == 200 { vec![vals![name_of(id), id]] } else { vec![] };
        assert_rows(&found, &expected);
        assert_eq!(
            (found.schema().field(0).name(), found.schema().field(1).name()),
            (&"n".into(), &"id".into())
        );
        assert!(!found.schema().field(1).is_nullable(), "keys are never null");
        let found = session.sql(&format!("SELECT id FROM t WHERE id IN ({id}, 3, 3)"), &[])?;
        let mut ids = vec![vals![3]];
        ids.extend(expected.iter().map(|row| row[1..].to_vec()));
        assert_rows_in_any_order(&found, &ids);
        let found =
            session.sql(&format!("SELECT id + 1 AS n FROM t WHERE id = {id} AND name <> 'row 7'"), &[])?;
        assert_rows(&found, &if expected.is_empty() || id == 7 { vec![] } else { vec![vals![id + 1]] });
        for limit in 0..3 {
            let found = session.sql(&format!("SELECT id FROM t WHERE id IN (1, 2, 4) LIMIT {limit}"), &[])?;
            assert_eq!(found.num_rows(), limit);
        }
    }
    refused(
        session.cache().sql("SELECT id FROM t WHERE id = 'x'", &[]).and_then(pillion::Batches::concat),
        ErrorCode::InvalidSql,
    );
    Ok(())
}

/// Texts in quotes are values whatever they have in them.
pub fn quotes_end_where_they_end(session: &mut Session<'_>) -> Outcome {
    let texts =
        ["plain", "it's", "''", "a -- b", "", "' OR 1=1", "/* */", "$1", "back\\slash", "Zürich", "\"x\""];
    let numbers = (0..).take(texts.len()).map(Value::Int).collect();
    let keys = texts.iter().map(|text| Value::from(*text)).collect();
    let rows = batch(&[("k", DataType::Utf8, keys), ("n", DataType::Int64, numbers)]);
    session.define_keyed("t", "k", rows)?;
    for _ in 0..2 {
        for (number, text) in (0_i64..).zip(texts) {
            let quoted = text.replace('\'', "''");
            let found = session.sql(&format!("SELECT n FROM t WHERE k = '{quoted}'"), &[])?;
            assert_rows(&found, &[vals![number]]);
            let none = session.sql(&format!("SELECT n FROM t WHERE k = '{quoted}!'"), &[])?;
            assert_rows(&none, &[]);
        }
    }
    Ok(())
}

/// A parameter that fits no more is refused although the statement ran before, and the next run goes well.
pub fn another_kind_of_parameter_is_judged_anew(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    let cache = session.cache();
    let text = "SELECT name FROM t WHERE id = $1";
    let prepared = cache.prepare(text)?;
    let run = |parameters: &[Value]| [prepared.execute(parameters), cache.sql(text, parameters)];
    for id in 0..3 {
        for answer in run(&vals![id]).into_iter().chain(run(&vals![id.to_string()])) {
            assert_rows(&answer?.concat()?, &[vals![name_of(id)]]);
        }
        for wrong in [vals!["one"], vals![1.5], vec![], vals![1, 2]] {
            for answer in run(&wrong) {
                refused(answer, ErrorCode::InvalidParameter);
            }
        }
        for answer in run(&[Value::Null]) {
            assert_rows(&answer?.concat()?, &[]);
        }
    }
    Ok(())
}

/// A table that takes the place of another is found, with its own columns.
pub fn the_newest_table_is_found(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..3))?;
    let cache = session.cache();
    let text = "SELECT * FROM t WHERE id = 1";
    let prepared = cache.prepare(text)?;
    for _ in 0..3 {
        assert_rows(&prepared.execute(&[])?.concat()?, &[vals![1, name_of(1)]]);
        assert_rows(&session.sql(text, &[])?, &[vals![1, name_of(1)]]);
    }
    session.writer().drop_table("t")?;
    session.cache();
    refused(prepared.execute(&[]), ErrorCode::TableNotFound);
    refused(session.cache().sql(text, &[]), ErrorCode::TableNotFound);
    let rows = batch(&[("extra", DataType::Boolean, vals![true]), ("id", DataType::Int32, vals![1])]);
    session.define_keyed("t", "id", rows)?;
    session.cache();
    for _ in 0..3 {
        assert_rows(&prepared.execute(&[])?.concat()?, &[vals![true, 1]]);
        assert_rows(&session.sql(text, &[])?, &[vals![true, 1]]);
    }
    Ok(())
}

/// Rows that one commit changes together are found together.
pub fn lookups_beside_upserts(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", round(0))?;
    let writer = session.writer().table("t")?;
    let cache = session.held();
    let text = |id: i64| format!("SELECT round, id FROM t WHERE id IN (0, {id})");
    let prepared = cache.prepare("SELECT round, id FROM t WHERE id IN ($1, 5)")?;
    let in_one_round = |answer: pillion::Batches| -> pillion::Result<()> {
        let version = answer.version();
        let found = answer.concat()?;
        let rounds = found.column(0).as_primitive::<Int64Type>().values();
        assert!(rounds.len() == 2 && rounds[0] == rounds[1], "{rounds:?} at {version}");
        Ok(())
    };
    beside(
        &cache,
        |number| writer.upsert(round(number)).map(drop),
        |cache: &Cache| {
            (1..ROWS).try_for_each(|id| in_one_round(cache.sql(&text(id), &[])?))?;
            in_one_round(prepared.execute(&vals![1])?)
        },
    )
}
