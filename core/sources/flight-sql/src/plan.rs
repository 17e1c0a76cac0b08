//! The statement that fetches a relation, and the columns that it gives.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow_flight::FlightInfo;
use pillion::source::{Fetch, Relation};
use pillion::{Error, ErrorCode, Result};

use crate::catalog;
use crate::decode::Columns;
use crate::dialect::Quotes;
use crate::names::suggestion;
use crate::position::Position;
use crate::session::{Prepared, Session, schema_of};
use crate::stream::{Arrived, Reader};

/// A condition that no row satisfies, in every dialect.
const NO_ROWS: &str = "1 = 0";
/// How a parameter is written, by dialect.
const PARAMETERS: &[&str] = &["?", "$1"];

/// A relation as the server knows it.
pub(crate) struct Shape {
    /// What stands behind `FROM`.
    from: String,
    /// How messages call it.
    shown: String,
    columns: Vec<Field>,
    quotes: Quotes,
}

/// Rows that the server was asked for.
pub(crate) struct Asked {
    pub(crate) info: FlightInfo,
    /// The statement that is forgotten when the rows were fetched.
    pub(crate) prepared: Option<Prepared>,
}

impl Shape {
    /// Learns the columns of a relation, and lets the server read the condition.
    pub(crate) async fn of(
        reader: &mut Reader,
        quotes: Quotes,
        relation: &Relation,
        condition: Option<&str>,
    ) -> Result<Self> {
        if let Some(option) = relation.options().keys().next() {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!("a relation of a Flight SQL server has no options, so none is called `{option}`"),
            ));
        }
        let (from, shown, listed) = if relation.is_statement() {
            let text = relation.text();
            let text = text.trim_end_matches(|letter: char| letter == ';' || letter.is_whitespace());
            (format!("({text}\n) pillion_rows"), "the statement".to_owned(), Schema::empty())
        } else {
            let found = catalog::table(reader, relation.text()).await?;
            (found.name.in_sql(quotes)?, format!("table `{}`", found.name), found.columns)
        };
        let schema = announced(reader, &from, &shown, condition, listed).await?;
        let columns: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let mut shape = Self { from, shown, columns, quotes };
        let mut names = BTreeSet::new();
        if let Some(twice) = shape.columns.iter().find(|column| !names.insert(column.name())) {
            let message = format!("{} has two columns `{}`; name them with AS", shape.shown, twice.name());
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        for name in relation.left_out().iter().chain(relation.read_as_text()) {
            shape.column(name)?;
        }
        shape.columns.retain(|column| !relation.left_out().contains(column.name()));
        Ok(shape)
    }

    fn column(&self, name: &str) -> Result<&Field> {
        self.columns.iter().find(|column| column.name() == name).ok_or_else(|| {
            let hint = suggestion(name, self.columns.iter().map(|column| column.name().as_str()));
            Error::new(ErrorCode::ColumnNotFound, format!("{} has no column `{name}`{hint}", self.shown))
        })
    }

    /// The columns that are wanted of it, all by default.
    pub(crate) fn select(&self, relation: &Relation, wanted: Option<&[String]>) -> Result<Columns> {
        let fields: Vec<&Field> = match wanted {
            None => self.columns.iter().collect(),
            Some(names) => names.iter().map(|name| self.column(name)).collect::<Result<_>>()?,
        };
        if fields.is_empty() {
            let message = format!("no column of {} is left to fetch", self.shown);
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        Columns::new(fields, relation.read_as_text()).map_err(|(name, of)| {
            let message = format!(
                "column `{name}` of {} has the type {of}, which has no mapping; read it as text or leave it out",
                self.shown
            );
            Error::new(ErrorCode::UnsupportedType, message)
        })
    }

    /// Asks the server for the selected columns of the wanted rows.
    pub(crate) async fn ask(&self, session: &Session, columns: &Columns, fetch: &Fetch) -> Result<Asked> {
        let names = columns.schema.fields().iter().map(|field| self.quotes.quoted(field.name()));
        let select = format!("SELECT {} FROM {}", names.collect::<Result<Vec<_>>>()?.join(", "), self.from);
        let mut conditions: Vec<String> =
            fetch.wanted_condition().map(|condition| format!("({condition}\n)")).into_iter().collect();
        if let Some(after) = fetch.from_position() {
            let column = self.column(&after.column)?;
            let position = Position::of(column.name(), column.data_type(), &after.value)?;
            let column = self.quotes.quoted(column.name())?;
            if let Some(parameter) = &position.parameter {
                for marker in PARAMETERS {
                    let text = filtered(&select, &conditions, Some(&format!("{column} >= {marker}")));
                    if let Some(asked) = with_parameter(session, &text, parameter).await? {
                        return Ok(asked);
                    }
                }
            }
            conditions.push(format!("{column} >= {}", position.literal));
        }
        let text = filtered(&select, &conditions, None);
        let info = session.statement(&text).await;
        let info = info.map_err(|status| session.failures().of_text(&self.shown, &status))?;
        Ok(Asked { info, prepared: None })
    }
}

fn filtered(select: &str, conditions: &[String], last: Option<&str>) -> String {
    let conditions: Vec<&str> = conditions.iter().map(String::as_str).chain(last).collect();
    if conditions.is_empty() {
        select.to_owned()
    } else {
        format!("{select} WHERE {}", conditions.join(" AND "))
    }
}

/// Asks for rows with a value for the one parameter of a statement. `None` if the server does not prepare it, does not say
/// that it has a parameter, or takes no value for it.
async fn with_parameter(
    session: &Session,
    text: &str,
    value: &arrow::array::ArrayRef,
) -> Result<Option<Asked>> {
    let Ok(mut prepared) = session.prepare(text).await else { return Ok(None) };
    let [parameter] = &*prepared.parameters.fields else {
        session.close(&prepared).await;
        return Ok(None);
    };
    let field = Field::new(parameter.name(), value.data_type().clone(), true);
    let values = RecordBatch::try_new(Schema::new(vec![field]).into(), vec![value.clone()]);
    let values = values.map_err(|error| {
        Error::new(ErrorCode::Internal, "a position cannot be a parameter").with_source(error)
    })?;
    let bound = match session.bind(&mut prepared, values).await {
        Ok(()) => session.execute(&prepared).await,
        Err(status) => Err(status),
    };
    match bound {
        Ok(info) => Ok(Some(Asked { info, prepared: Some(prepared) })),
        Err(_) => {
            session.close(&prepared).await;
            Ok(None)
        }
    }
}

/// The columns of whatever stands behind `FROM`, as the server announces them when it is asked for no rows. `listed` are those
/// that it named when it listed its tables.
async fn announced(
    reader: &mut Reader,
    from: &str,
    shown: &str,
    condition: Option<&str>,
    listed: Schema,
) -> Result<Schema> {
    let all = format!("SELECT * FROM {from} WHERE {NO_ROWS}");
    // Where a parenthesis that is closed and not opened is an error.
    let probe = condition.map(|condition| format!("{all} AND CASE WHEN {condition}\n THEN 1 ELSE 0 END = 1"));
    let session = reader.session().clone();
    let what = match condition {
        Some(condition) => format!("{shown} with the condition `{condition}`"),
        None => shown.to_owned(),
    };
    let text = probe.as_ref().unwrap_or(&all);
    let info = session.statement(text).await;
    let info = info.map_err(|status| session.failures().of_text(&what, &status))?;
    let unreadable = |error: arrow::error::ArrowError| {
        let message = format!("{}: the columns of {shown} cannot be read", session.failures().place());
        Error::new(ErrorCode::SourceInvalid, message).with_source(error)
    };
    let announced = schema_of(info.schema.clone()).map_err(unreadable)?;
    if !announced.fields().is_empty() {
        return Ok(announced);
    }
    // The first message of a stream names the columns too, if only there are endpoints.
    for endpoint in &info.endpoint {
        let mut rows = reader.endpoint(endpoint, shown).await?;
        if let Some(Arrived::Columns(columns)) = rows.next().await?
            && !columns.fields().is_empty()
        {
            return Ok(columns.as_ref().clone());
        }
    }
    // Some servers name no columns where there are no rows.
    if let Ok(prepared) = session.prepare(&all).await {
        session.close(&prepared).await;
        if !prepared.columns.fields().is_empty() {
            return Ok(prepared.columns);
        }
    }
    if !listed.fields().is_empty() {
        return Ok(listed);
    }
    let message = format!(
        "{}: the server does not say which columns {shown} has, neither with an answer without rows nor with a prepared statement",
        session.failures().place()
    );
    Err(Error::new(ErrorCode::Unsupported, message))
}
