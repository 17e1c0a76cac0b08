//! Closing a cache cleanly and opening it again.

use pillion::TableDefinition;

use crate::model::{assert_numbered, assert_rows, numbered, vals};
use crate::{Outcome, Session};

/// An empty cache opens again as an empty cache.
pub fn an_empty_cache(session: &mut Session<'_>) -> Outcome {
    for _ in 0..3 {
        assert!(session.cache().tables()?.is_empty());
        session.reopen();
    }
    Ok(())
}

/// Everything that was committed is there, after every kind of write and any number of openings.
pub fn every_kind_of_write(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("kept", "id", numbered([1]))?;
    session.define_keyed("appended", "id", numbered([1]))?;
    session.define_keyed("replaced", "id", numbered([1]))?;
    session.define_keyed("dropped", "id", numbered([1]))?;
    session.define("plain", TableDefinition::new(numbered([3, 1, 2])))?;
    session.append("appended", numbered([2]))?;
    session.replace("replaced", numbered([3]))?;
    session.writer().drop_table("dropped")?;
    for _ in 0..4 {
        session.reopen();
        let names: Vec<String> = session.cache().tables()?.into_iter().map(|table| table.name).collect();
        assert_eq!(names, ["appended", "kept", "plain", "replaced"]);
        assert_numbered(&session.table("kept")?, [1]);
        assert_numbered(&session.table("appended")?, [1, 2]);
        assert_numbered(&session.table("replaced")?, [3]);
        assert_numbered(&session.table("plain")?, [3, 1, 2]);
    }
    Ok(())
}

/// Writes and openings alternate.
pub fn writes_and_openings_alternate(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([0]))?;
    for id in 1..15 {
        session.reopen();
        session.append("t", numbered([id]))?;
        assert_numbered(&session.table("t")?, 0..=id);
    }
    session.reopen();
    session.replace("t", numbered([7]))?;
    session.reopen();
    assert_numbered(&session.table("t")?, [7]);
    Ok(())
}

/// A table that is defined after an opening does not collide with files of earlier tables.
pub fn tables_of_several_openings(session: &mut Session<'_>) -> Outcome {
    for id in 0..6 {
        session.define_keyed(&format!("t{id}"), "id", numbered([id]))?;
        if id % 2 == 1 {
            session.writer().drop_table(&format!("t{}", id - 1))?;
        }
        session.reopen();
    }
    for id in [1, 3, 5] {
        assert_numbered(&session.table(&format!("t{id}"))?, [id]);
    }
    assert_eq!(session.cache().tables()?.len(), 3);
    Ok(())
}

/// The status of a cache that was closed cleanly reports no damage.
pub fn a_clean_close_leaves_no_damage(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    session.reopen();
    let status = session.cache().status()?;
    assert_eq!(status.damage, None);
    assert_eq!(status.tables.len(), 1);
    assert_eq!(status.tables[0].name, "t");
    assert_eq!(status.way, session.cache().way());
    Ok(())
}

/// Queries after an opening see what was committed before it.
pub fn queries_after_an_opening(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("a", "id", numbered(0..10))?;
    session.define("b", TableDefinition::new(numbered(5..15)))?;
    session.reopen();
    let text = "SELECT count(*), min(a.id), max(b.id) FROM a JOIN b ON a.id = b.id";
    assert_rows(&session.sql(text, &[])?, &[vals![5, 5, 9]]);
    assert_rows(&session.sql("SELECT id FROM a WHERE id = $1", &vals![7])?, &[vals![7]]);
    Ok(())
}
