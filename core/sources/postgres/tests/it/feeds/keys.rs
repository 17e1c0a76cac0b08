//! Tables whose key here does not tell the rows of the server apart.

use pillion::source::{Fetch, TableSource};
use pillion::{Cache, CacheOptions, Durability, ErrorCode, RefreshStatus, TableDefinition};

use super::*;
use crate::support::rows::{all, sorted};

/// A cache that follows a relation.
struct Following {
    cache: Cache,
    relation: Relation,
    source: Postgres,
    _dir: tempfile::TempDir,
}

impl Following {
    fn start(server: &Server, relation: Relation, key: &str) -> Self {
        let (dir, source) = (tempfile::tempdir().unwrap(), server.source());
        let cache = CacheOptions::new().durability(Durability::Never).open(dir.path()).unwrap();
        cache.add_source("shop", server.source()).unwrap();
        let origin = TableSource::new("shop", relation.clone()).changes();
        let definition = TableDefinition::from_source(origin).primary_key([key]);
        cache.define_table(relation.text(), definition).unwrap();
        Self { cache, relation, source, _dir: dir }
    }

    fn held(&self) -> Vec<String> {
        let table = self.cache.table(self.relation.text()).unwrap();
        let batches = table.scan().unwrap().collect::<Result<Vec<_>>>().unwrap();
        sorted(&arrow::compute::concat_batches(table.schema(), &batches).unwrap())
    }

    #[track_caller]
    fn assert_same(&self) {
        assert_eq!(self.held(), sorted(&all(&self.source, &Fetch::of(self.relation.clone())).unwrap()));
    }

    fn status(&self) -> RefreshStatus {
        self.cache.refreshes().unwrap().remove(0)
    }
}

#[test]
fn rows_of_one_key_are_found_out_and_not_lost() {
    let Some(server) = server_with(&[]) else { return };
    server.psql(
        "CREATE TABLE members (user_id int, group_id int, since text, PRIMARY KEY (user_id, group_id)); \
         CREATE TABLE tags (tag text NOT NULL); ALTER TABLE tags REPLICA IDENTITY FULL; \
         INSERT INTO members VALUES (1, 1, 'first'), (2, 1, 'other'); INSERT INTO tags VALUES ('a'), ('b');",
    );
    for (relation, key, insert, delete) in [
        (
            Relation::table("members").leave_out(["group_id"]),
            "user_id",
            "INSERT INTO members VALUES (1, 2, 'second')",
            "DELETE FROM members WHERE (user_id, group_id) = (1, 2)",
        ),
        (
            Relation::table("tags"),
            "tag",
            "INSERT INTO tags VALUES ('a')",
            "DELETE FROM tags WHERE ctid = (SELECT ctid FROM tags WHERE tag = 'a' LIMIT 1)",
        ),
    ] {
        let following = Following::start(&server, relation, key);
        let (cache, name) = (&following.cache, following.relation.text());
        let before = following.held();
        server.psql(insert);
        let error = cache.refresh(name).unwrap_err();
        assert_eq!(error.code(), ErrorCode::DuplicateKey, "{name}: {error}");
        assert!(error.message().contains("two rows have"), "{error}");
        assert_eq!(following.held(), before, "the old rows of {name} serve");
        let why = following.status().last_error.map(|error| error.code());
        assert_eq!(why, Some(ErrorCode::DuplicateKey));
        server.psql(delete);
        while cache.refresh(name).is_err() {}
        following.assert_same();
        assert_eq!(following.held(), before, "the other row of the key is there");
    }
}

#[test]
fn a_table_whose_whole_rows_are_sent_is_followed_by_its_primary_key() {
    let Some(server) = server_with(&[]) else { return };
    server.psql(
        "CREATE TABLE items (id int PRIMARY KEY, name text); ALTER TABLE items REPLICA IDENTITY FULL; \
         CREATE TABLE words (word text PRIMARY KEY); ALTER TABLE words REPLICA IDENTITY FULL; \
         INSERT INTO items VALUES (1, 'a'), (2, 'b'); INSERT INTO words VALUES ('a'), ('b');",
    );
    for (name, key, scripts) in [
        (
            "items",
            "id",
            [
                "INSERT INTO items VALUES (3, 'a')",
                "BEGIN; DELETE FROM items WHERE id = 1; INSERT INTO items VALUES (1, 'again'); COMMIT",
                "UPDATE items SET id = 4, name = NULL WHERE id = 2",
            ],
        ),
        (
            "words",
            "word",
            [
                "INSERT INTO words VALUES ('c')",
                "BEGIN; DELETE FROM words WHERE word = 'a'; INSERT INTO words VALUES ('a'); COMMIT",
                "UPDATE words SET word = 'd' WHERE word = 'b'",
            ],
        ),
    ] {
        let following = Following::start(&server, Relation::table(name), key);
        for script in scripts {
            server.psql(script);
            following.cache.refresh(name).unwrap();
            following.assert_same();
        }
        assert_eq!(following.status().succeeded, 1, "{name} is not copied anew");
    }
}
