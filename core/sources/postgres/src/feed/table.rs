//! A table that is followed: which of its columns, and how their values are read.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use pillion::source::{Followed, Relation};
use pillion::{Error, ErrorCode, Result};
use tokio_postgres::types::{Kind, Type};

use super::catalog::{CatalogColumn, FollowableTable, followable};
use super::{Comparison, Tables};
use crate::changes::{AnnouncedColumn, AnnouncedTable, Identity};
use crate::decode::cells::Cells;
use crate::names::quoted;
use crate::plan::{self, Shape};
use crate::session::Session;

/// A transaction that may wait as long as it has to.
const BEGIN: &str = "BEGIN READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0";

/// Why a table is not followed on whose keys may not be unique any more. The server says nothing when the index goes that they had been of.
const OTHER_IDENTITY: &str = "its replica identity is another one now";

/// A table that is followed.
pub(super) struct FollowedTable {
    pub(super) table: FollowableTable,
    relation: Relation,
    shape: Shape,
    schema: SchemaRef,
}

impl FollowedTable {
    /// Its name, as SQL reads it.
    pub(super) fn qualified(&self) -> String {
        format!("{}.{}", quoted(&self.table.schema), quoted(&self.table.name))
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn followed(&self) -> Followed {
        let is_selected = |name: &&String| self.schema.column_with_name(name).is_some();
        let identity: Vec<String> = self.table.identity.iter().filter(is_selected).cloned().collect();
        // Without one of its columns an index does not tell rows apart.
        let is_unique = self.table.has_unique_identity && identity.len() == self.table.identity.len();
        let followed = Followed::new(self.schema.clone(), identity);
        let followed = if is_unique { followed.unique_identity() } else { followed };
        match self.shape.rows {
            Some(rows) => followed.rows(rows),
            None => followed,
        }
    }

    /// Empty columns.
    pub(super) fn cells(&self) -> Result<Vec<Box<dyn Cells>>> {
        self.shape.select(&self.relation, None).map(|selection| selection.cells)
    }

    /// Where the columns stand among those that are announced, or why the announced ones are others.
    pub(super) fn places(&self, announced: &AnnouncedTable) -> std::result::Result<Vec<usize>, String> {
        if (announced.schema.as_str(), announced.name.as_str()) != (&*self.table.schema, &*self.table.name) {
            return Err(format!("it is called {}.{} now", announced.schema, announced.name));
        }
        if announced.oid != self.table.oid {
            return Err("it was dropped and made anew".to_owned());
        }
        let place = |field: &Arc<arrow::datatypes::Field>| {
            let name = field.name();
            let found = announced.columns.iter().position(|column| column.name == *name);
            let place = found.ok_or_else(|| format!("column `{name}` is not sent any more"))?;
            let sent = &announced.columns[place];
            let known = self.table.columns.iter().find(|column| column.name == *name);
            let is_alike =
                |known: &CatalogColumn| (known.type_oid, known.modifier) == (sent.type_oid, sent.modifier);
            if known.is_some_and(is_alike) {
                Ok(place)
            } else {
                Err(format!("column `{name}` changed its type"))
            }
        };
        let places = self.schema.fields().iter().map(place).collect::<std::result::Result<Vec<_>, _>>()?;
        // New columns are the last ones.
        if let Some(at) = places.windows(2).position(|pair| matches!(pair, [one, next] if one > next)) {
            let name = self.schema.field(at).name();
            return Err(format!("column `{name}` was dropped and added anew"));
        }
        let is_new = |name: &String| {
            self.schema.column_with_name(name).is_none() && !self.relation.left_out().contains(name)
        };
        let is_lacking = |name: &&String| {
            !announced.columns.iter().any(|column| column.name == **name && column.is_identity)
        };
        if let Some(name) = self.table.identity.iter().find(is_lacking) {
            return Err(format!("column `{name}` does not belong to the replica identity any more"));
        }
        let is_more =
            |column: &AnnouncedColumn| column.is_identity && !self.table.identity.contains(&column.name);
        let is_other = announced.identity == Identity::Full || announced.columns.iter().any(is_more);
        if is_other && self.followed().has_unique_identity() {
            return Err(OTHER_IDENTITY.to_owned());
        }
        match announced.columns.iter().find(|column| is_new(&column.name)) {
            Some(column) => Err(format!("column `{}` was added", column.name)),
            None => Ok(places),
        }
    }
}

/// Locks tables against changes of their columns until the session ends, and describes them.
pub(super) async fn lock_and_describe(session: &Session, relations: &[Relation]) -> Result<Tables> {
    session.client()?.batch_execute(BEGIN).await.map_err(|error| session.failure(error))?;
    let mut tables = Tables::new();
    for relation in relations {
        let name = name_of(relation)?;
        let found = followable(session, name).await?;
        let lock =
            format!("LOCK TABLE {}.{} IN ACCESS SHARE MODE", quoted(&found.schema), quoted(&found.name));
        session.client()?.batch_execute(&lock).await.map_err(|error| session.failure(error))?;
        // Again, because it may have changed before it was locked.
        let table = describe(session, relation).await?;
        if let Some(twice) = tables.iter().find(|other: &&FollowedTable| other.table.oid == table.table.oid) {
            let message = format!("table {} is to be followed twice", twice.qualified());
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        tables.push(table);
    }
    Ok(tables)
}

/// Compares a table with the columns that are held of it.
pub(super) async fn compare(session: &Session, relation: &Relation, held: &Followed) -> Result<Comparison> {
    match describe(session, relation).await {
        Ok(table) => Ok(difference(&table, held).map_or_else(|| Ok(Arc::new(table)), Err)),
        // That a table cannot be asked about is another matter than that it cannot be followed.
        Err(error) if [ErrorCode::SourceUnavailable, ErrorCode::SourceRefused].contains(&error.code()) => {
            Err(error)
        }
        Err(error) => Ok(Err(error.message().to_owned())),
    }
}

async fn describe(session: &Session, relation: &Relation) -> Result<FollowedTable> {
    let table = followable(session, name_of(relation)?).await?;
    let shape = plan::shape_of(session, relation).await?;
    for (name, kind) in shape.columns() {
        let unsupported = |why: &str| {
            let message = format!("{}: column `{name}` of `{}` {why}", session.place(), relation.text());
            Err(Error::new(ErrorCode::UnsupportedType, message))
        };
        if table.generated.iter().any(|generated| generated == name) {
            return unsupported(
                "is generated, and the server does not send its values with changes; leave it out",
            );
        }
        let is_read_as_text = relation.read_as_text().iter().any(|other| other == name);
        if is_read_as_text && !is_text(kind) {
            return unsupported("can be fetched as text and not be followed as text; leave it out");
        }
    }
    let schema = shape.select(relation, None)?.schema;
    Ok(FollowedTable { table, relation: relation.clone(), shape, schema })
}

fn name_of(relation: &Relation) -> Result<&str> {
    if relation.is_statement() {
        return Err(Error::new(ErrorCode::Unsupported, "a statement cannot be followed, only a table"));
    }
    Ok(relation.text())
}

/// Whether the binary form of a type is what the server shows.
fn is_text(kind: &Type) -> bool {
    match *kind {
        Type::TEXT | Type::VARCHAR | Type::NAME | Type::JSON | Type::XML => true,
        _ => match kind.kind() {
            Kind::Enum(_) => true,
            Kind::Simple => kind.name() == "citext",
            Kind::Domain(base) => is_text(base),
            _ => false,
        },
    }
}

/// How a table differs from what is held of it, if it does.
fn difference(table: &FollowedTable, held: &Followed) -> Option<String> {
    for field in held.schema().fields() {
        let name = field.name();
        let Some((_, now)) = table.schema.column_with_name(name) else {
            return Some(format!("column `{name}` is gone"));
        };
        if now.data_type() != field.data_type() {
            let (before, now) = (field.data_type(), now.data_type());
            return Some(format!("column `{name}` is {now} now and was {before}"));
        }
        if now.is_nullable() && !field.is_nullable() {
            return Some(format!("column `{name}` allows nulls now"));
        }
    }
    let new =
        table.schema.fields().iter().find(|field| held.schema().column_with_name(field.name()).is_none());
    if let Some(new) = new {
        return Some(format!("column `{}` was added", new.name()));
    }
    let followed = table.followed();
    let lacks = held.identity().iter().find(|name| !followed.identity().contains(name));
    if let Some(name) = lacks {
        return Some(format!("column `{name}` does not belong to the replica identity any more"));
    }
    let is_same = followed.has_unique_identity()
        && followed.identity().iter().all(|name| held.identity().contains(name));
    (held.has_unique_identity() && !is_same).then(|| OTHER_IDENTITY.to_owned())
}
