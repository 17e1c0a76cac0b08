//! Sources that tables are fetched from, by their URLs.

use pillion::source::{OnSchemaChange, Relation, Secret, Source, TableSource};
use pillion::{Error, ErrorCode, OnMiss, Result, TableDefinition, TableRules};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::cache::duration;
use crate::errors::{raise, refuse};

/// What stands before the scheme of a URL whose folders are tables of Delta Lake.
#[cfg(feature = "connectors")]
const DELTA: &str = "delta+";

/// The texts of a dict.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for values that are no texts.
pub(crate) fn texts(dict: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<(String, String)>> {
    let pairs =
        dict.into_iter().flatten().map(|(name, value)| Ok((name.extract()?, value.str()?.to_string())));
    pairs.collect()
}

/// The secrets of a dict: texts, or `pathlib.Path` of files that have them.
///
/// # Errors
/// For values that are neither.
pub(crate) fn secrets(dict: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<(String, Secret)>> {
    let pairs = dict.into_iter().flatten().map(|(name, value)| {
        let secret = match value.extract::<String>() {
            Ok(text) => Secret::Text(text),
            Err(_) => Secret::File(value.extract()?),
        };
        Ok((name.extract()?, secret))
    });
    pairs.collect()
}

/// The source that a URL names. It is not asked anything yet.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for URLs and options that it does not have; [`ErrorCode::Unsupported`] in a build without it.
#[cfg(feature = "connectors")]
pub(crate) fn source(
    url: &str,
    options: &[(String, String)],
    secrets: Vec<(String, Secret)>,
) -> Result<Box<dyn Source>> {
    let scheme = url.split_once("://").map_or("file", |(scheme, _)| scheme);
    match scheme {
        "postgresql" | "postgres" => {
            use pillion_postgres::PostgresOptions;
            let mut source = PostgresOptions::from_url(url)?;
            for secret in of_url(scheme, options, secrets)? {
                source = source.password(secret);
            }
            Ok(Box::new(source.build()?))
        }
        "mysql" | "mariadb" => {
            use pillion_mysql::MySqlOptions;
            let mut source = MySqlOptions::from_url(url)?;
            for secret in of_url(scheme, options, secrets)? {
                source = source.password(secret);
            }
            Ok(Box::new(source.build()?))
        }
        "grpc" | "grpc+tcp" | "grpc+tls" | "grpc+unix" => {
            let mut source = pillion_flight_sql::FlightSqlOptions::from_url(url)?;
            for (name, value) in options {
                source = source.option(name, value)?;
            }
            for (name, secret) in secrets {
                source = source.secret(&name, secret)?;
            }
            Ok(Box::new(source.build()?))
        }
        "sqlite" => {
            if let Some(_secret) = of_url(scheme, options, secrets)?.first() {
                return Err(invalid("a SQLite source has no secrets: encrypted files cannot be read"));
            }
            Ok(Box::new(pillion_sqlite::Sqlite::from_url(url)?))
        }
        "file" | "s3" | "gs" | "az" | "http" | "https" => {
            let location = location(url, options, secrets);
            Ok(Box::new(pillion_object_store::ObjectStoreSource::new(location)?))
        }
        scheme if scheme.starts_with(DELTA) => {
            let location = location(url.strip_prefix(DELTA).unwrap_or(url), options, secrets);
            Ok(Box::new(pillion_delta::DeltaSource::new(location)?))
        }
        _ => Err(invalid(
            "the URL has an unknown scheme; there are postgresql, mysql, mariadb, grpc, grpc+tls, grpc+unix, sqlite, s3, gs, az, http, https, file, delta+s3, delta+gs, delta+az and delta+file",
        )),
    }
}

/// The files at a URL.
#[cfg(feature = "connectors")]
fn location(
    url: &str,
    options: &[(String, String)],
    secrets: Vec<(String, Secret)>,
) -> pillion_object_store::Location {
    let mut location = pillion_object_store::Location::new(url);
    for (name, value) in options {
        location = location.option(name, value);
    }
    for (name, secret) in secrets {
        location = location.secret(&name, secret);
    }
    location
}

/// # Errors
/// [`ErrorCode::Unsupported`].
#[cfg(not(feature = "connectors"))]
pub(crate) fn source(_: &str, _: &[(String, String)], _: Vec<(String, Secret)>) -> Result<Box<dyn Source>> {
    Err(Error::new(ErrorCode::Unsupported, "this build has no sources; let a sidecar fetch the tables"))
}

/// The passwords of a source whose options are in its URL.
#[cfg(feature = "connectors")]
fn of_url(scheme: &str, options: &[(String, String)], secrets: Vec<(String, Secret)>) -> Result<Vec<Secret>> {
    if let Some((name, _)) = options.first() {
        return Err(invalid(format!(
            "write `{name}` into the URL, as in `?{name}=…`: {scheme} has no `options`"
        )));
    }
    let passwords = secrets.into_iter().map(|(name, secret)| match name.as_str() {
        "password" => Ok(secret),
        _ => Err(invalid(format!("{scheme} has no secret `{name}`, only `password`"))),
    });
    passwords.collect()
}

#[cfg(feature = "connectors")]
fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidArgument, message)
}

/// Where the rows of a table come from and when they are fetched, as Python gives it.
pub(crate) struct Feed<'a, 'py> {
    pub(crate) source: String,
    pub(crate) table: Option<String>,
    pub(crate) statement: Option<String>,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) condition: Option<String>,
    pub(crate) every: Option<&'a Bound<'py, PyAny>>,
    pub(crate) cron: Option<(String, String)>,
    pub(crate) on_change: Option<&'a Bound<'py, PyAny>>,
    pub(crate) changes: bool,
    pub(crate) publication: Option<String>,
    pub(crate) on_schema_change: &'a str,
    pub(crate) rows_where: Option<String>,
    pub(crate) on_miss: &'a str,
    pub(crate) append_by: Option<(String, Bound<'py, PyAny>)>,
    pub(crate) options: Vec<(String, String)>,
}

impl Feed<'_, '_> {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for what contradicts itself.
    pub(crate) fn definition(self, rules: TableRules) -> PyResult<TableDefinition> {
        let relation = match (self.table, self.statement) {
            (Some(table), None) => Relation::table(table),
            (None, Some(statement)) => Relation::statement(statement),
            _ => {
                let message = "say what is fetched: either `table` or `statement`";
                return Err(refuse(ErrorCode::InvalidArgument, message));
            }
        };
        let relation =
            self.options.into_iter().fold(relation, |relation, (name, value)| relation.option(name, value));
        let mut feed = TableSource::new(self.source, relation);
        if let Some(columns) = self.columns {
            feed = feed.columns(columns);
        }
        if let Some(condition) = self.condition {
            feed = feed.condition(condition);
        }
        if let Some((column, overlap)) = self.append_by {
            feed = match overlap.extract::<u64>() {
                Ok(overlap) => feed.append_by_number(column, overlap),
                Err(_) => feed.append_by(column, duration(&overlap, "the overlap in `append_by`")?),
            };
        }
        if let Some(condition) = self.rows_where {
            feed = feed.rows_where(condition).on_miss(on_miss(self.on_miss)?);
        }
        if let Some(publication) = self.publication {
            feed = feed.publication(publication);
        }
        feed = feed.on_schema_change(on_schema_change(self.on_schema_change)?);
        feed = match (self.every, self.cron, self.on_change, self.changes) {
            (None, None, None, false) => feed.on_call(),
            (Some(interval), None, None, false) => feed.every(duration(interval, "`every`")?),
            (None, Some((pattern, zone)), None, false) => feed.cron(&pattern, &zone).map_err(raise)?,
            (None, None, Some(poll), false) => feed.on_change(duration(poll, "`on_change`")?),
            (None, None, None, true) => feed.changes(),
            _ => {
                let message = "say when it is refreshed: one of `every`, `cron`, `on_change` and `changes`, or none of them for \
                               refresh()";
                return Err(refuse(ErrorCode::InvalidArgument, message));
            }
        };
        Ok(TableDefinition::from_source(feed).rules(rules))
    }
}

/// # Errors
/// [`ErrorCode::InvalidArgument`] for other texts.
fn on_miss(text: &str) -> PyResult<OnMiss> {
    match text {
        "error" => Ok(OnMiss::Error),
        "local" => Ok(OnMiss::Local),
        "delegate" => Ok(OnMiss::Delegate),
        other => {
            let message = format!("`on_miss` is `error`, `local` or `delegate`, not `{other}`");
            Err(refuse(ErrorCode::InvalidArgument, message))
        }
    }
}

/// # Errors
/// [`ErrorCode::InvalidArgument`] for other texts.
fn on_schema_change(text: &str) -> PyResult<OnSchemaChange> {
    match text {
        "copy" => Ok(OnSchemaChange::Copy),
        "stale" => Ok(OnSchemaChange::Stale),
        other => {
            let message = format!("`on_schema_change` is `copy` or `stale`, not `{other}`");
            Err(refuse(ErrorCode::InvalidArgument, message))
        }
    }
}
