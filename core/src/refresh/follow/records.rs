//! What a follower remembers, as it is committed with the rows.

use arrow::datatypes::{DataType, Field, Schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::source::{Followed, Relation};
use crate::types::error::{Error, ErrorCode, Result};

/// Up to where the tables of a source are followed. It changes with every commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FeedRecord {
    /// Tables are in step with the feed while their records name its epoch.
    pub(super) epoch: u64,
    /// The name at the source.
    pub(super) name: String,
    #[serde(with = "serde_bytes")]
    pub(super) position: Vec<u8>,
}

/// Which tables a feed has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListRecord {
    /// In the order in which they are followed.
    pub(super) tables: Vec<String>,
    /// What an administrator has made at the source.
    #[serde(default)]
    pub(super) publication: Option<String>,
    /// Names that the source is to forget.
    #[serde(default)]
    pub(super) to_forget: Vec<String>,
}

/// What of a source a table is, as it was described with the copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ColumnsRecord {
    relation: RelationRecord,
    columns: Vec<ColumnRecord>,
    identity: Vec<String>,
    /// Older records do not have it: their tables are treated as if it were not so.
    #[serde(default)]
    has_unique_identity: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RelationRecord {
    text: String,
    #[serde(default)]
    options: Vec<(String, String)>,
    #[serde(default)]
    left_out: Vec<String>,
    #[serde(default)]
    as_text: Vec<String>,
    #[serde(default)]
    only: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ColumnRecord {
    name: String,
    /// As Arrow writes it.
    data_type: String,
    is_nullable: bool,
}

/// The name under which the feed of a source is kept. No table has a record of such a name: no source has an empty one.
pub(super) fn feed_name(source: &str) -> String {
    format!("/{source}")
}

/// The name under which the list of a feed is kept. No table has an empty name.
pub(super) fn list_name(source: &str) -> String {
    format!("/{source}/")
}

/// The name under which the columns of a table are kept.
pub(super) fn columns_name(source: &str, table: &str) -> String {
    format!("/{source}/{table}")
}

/// The record that was kept. `None` if there is none, or bytes that this version does not understand.
pub(super) fn decode<T: DeserializeOwned>(bytes: Option<&[u8]>) -> Option<T> {
    rmp_serde::from_slice(bytes?).ok()
}

pub(super) fn encode(record: &impl Serialize) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(record)
        .map_err(|error| Error::internal("the record of a follower").with_source(error))
}

impl ColumnsRecord {
    /// # Errors
    /// [`ErrorCode::UnsupportedType`] for a type that cannot be kept.
    pub(super) fn new(relation: &Relation, followed: &Followed) -> Result<Self> {
        let options = relation.options().iter().map(|(name, value)| (name.clone(), value.clone()));
        let relation = RelationRecord {
            text: relation.text().to_owned(),
            options: options.collect(),
            left_out: relation.left_out().to_vec(),
            as_text: relation.read_as_text().to_vec(),
            only: relation.only_columns().map(<[String]>::to_vec),
        };
        let columns = followed.schema().fields().iter().map(|field| {
            let data_type = field.data_type().to_string();
            if data_type.parse::<DataType>().ok().as_ref() != Some(field.data_type()) {
                return Err(Error::new(
                    ErrorCode::UnsupportedType,
                    format!("column `{}` of type {data_type} cannot be followed; leave it out", field.name()),
                ));
            }
            Ok(ColumnRecord { name: field.name().clone(), data_type, is_nullable: field.is_nullable() })
        });
        let columns = columns.collect::<Result<_>>()?;
        Ok(Self {
            relation,
            columns,
            identity: followed.identity().to_vec(),
            has_unique_identity: followed.has_unique_identity(),
        })
    }

    pub(super) fn relation(&self) -> Relation {
        let RelationRecord { text, options, left_out, as_text, only } = self.relation.clone();
        let relation = Relation::table(text).leave_out(left_out).as_text(as_text);
        let relation =
            options.into_iter().fold(relation, |relation, (name, value)| relation.option(name, value));
        match only {
            Some(only) => relation.only(only),
            None => relation,
        }
    }

    pub(super) fn identity(&self) -> &[String] {
        &self.identity
    }

    /// Whether the source never lets two rows have the same identity.
    pub(super) fn has_unique_identity(&self) -> bool {
        self.has_unique_identity
    }

    /// Whether rows that are in step by this record are in step by a newer one too: it is the same, or knows that the identity is unique
    /// where this one does not.
    pub(super) fn holds_for(&self, newer: &Self) -> bool {
        let has_unique_identity = self.has_unique_identity || newer.has_unique_identity;
        Self { has_unique_identity, ..self.clone() } == *newer
    }

    /// The columns again. `None` if this version does not know a type.
    pub(super) fn followed(&self) -> Option<Followed> {
        let field = |column: &ColumnRecord| {
            Some(Field::new(&column.name, column.data_type.parse().ok()?, column.is_nullable))
        };
        let fields = self.columns.iter().map(field).collect::<Option<Vec<_>>>()?;
        let followed = Followed::new(Schema::new(fields).into(), self.identity.clone());
        Some(if self.has_unique_identity { followed.unique_identity() } else { followed })
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let list = Field::new_list_field(DataType::Utf8, true);
        let fields = [
            DataType::Int64,
            DataType::Utf8,
            DataType::Decimal128(38, 4),
            DataType::Decimal256(60, 2),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
            DataType::List(list.into()),
        ];
        let fields = fields
            .into_iter()
            .enumerate()
            .map(|(number, kind)| Field::new(format!("c {number}"), kind, number > 0));
        let followed = Followed::new(Schema::new(fields.collect::<Vec<_>>()).into(), vec!["c 0".to_owned()]);
        let relation = Relation::table("public.orders")
            .leave_out(["gone"])
            .as_text(["c 1"])
            .option("a", "b")
            .only(["c 0"]);
        let record = ColumnsRecord::new(&relation, &followed).unwrap();
        let again: ColumnsRecord = decode(Some(&encode(&record).unwrap())).unwrap();
        assert_eq!((again.relation(), again.followed().unwrap()), (relation.clone(), followed.clone()));
        let unique = followed.unique_identity();
        let record = ColumnsRecord::new(&relation, &unique).unwrap();
        let again: ColumnsRecord = decode(Some(&encode(&record).unwrap())).unwrap();
        assert_eq!(again.followed().unwrap(), unique);
        assert_eq!(decode::<ColumnsRecord>(Some(b"something else")), None);
        assert_eq!(decode::<FeedRecord>(None), None);
    }

    #[test]
    fn an_identity_is_unique_only_if_the_record_says_so() {
        /// As it was written before that was known.
        #[derive(Serialize)]
        struct Older {
            relation: RelationRecord,
            columns: Vec<ColumnRecord>,
            identity: Vec<String>,
        }
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
        let followed = |identity: &str| Followed::new(schema.clone().into(), vec![identity.to_owned()]);
        let record = |followed: Followed| ColumnsRecord::new(&Relation::table("t"), &followed).unwrap();
        let (unknown, unique) = (record(followed("id")), record(followed("id").unique_identity()));
        let ColumnsRecord { relation, columns, identity, .. } = unique.clone();
        let older = encode(&Older { relation, columns, identity }).unwrap();
        let older: ColumnsRecord = decode(Some(&older)).unwrap();
        assert_eq!(older, unknown);
        assert!(!older.has_unique_identity() && unique.has_unique_identity());
        // Rows stay if that becomes known, and are copied anew if it is not so any more.
        assert!(older.holds_for(&unique) && unique.holds_for(&unique) && unknown.holds_for(&unknown));
        assert!(!unique.holds_for(&unknown));
        assert!(!unknown.holds_for(&record(followed("other").unique_identity())));
    }
}
