//! `GET`, `PUT` and `DELETE /v1/tables/{table}/{key}`: one row by its key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use pillion::{AsyncTable, Event, TableInfo, Tier, Version};
use pillion_access::{Identity, Right};
use pillion_door::said::Said;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use serde_json::value::RawValue;

use super::tables::document;
use super::upload::{RowsFormat, Spool, load};
use super::work::Work;
use crate::answer::encoder;
use crate::answer::format::Format;
use crate::answer::stream;
use crate::door::{DOOR, Door, without_others};
use crate::guard::Admitted;
use crate::problem::Problem;
use crate::request::{body, key, path, query};

pub(super) async fn get(
    State(door): State<Arc<Door>>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Result<Response, Problem> {
    let name = path::table(request.uri())?;
    identity.demand(DOOR, Right::Read, Some(&name))?;
    query::arguments(request.uri(), &[])?;
    let format = Format::accepted(request.headers())?;
    let parts = path::key(request.uri())?;
    // What the answer says of itself is of the same version as the row, also where there is none. In this process all of it
    // is function calls, which need no other thread, unless the source has to be asked.
    let no_table = |error| without_others(&name, error);
    let way = door.cache.blocking().way();
    let at_once = if door.is_local() {
        let table = door.cache.blocking().snapshot()?.table(&name).map_err(no_table)?;
        let key = key::values(table.info(), &parts)?;
        table.get_at_once(key).map(|found| (found, table.info().clone()))
    } else {
        None
    };
    let (row, info, said) = match at_once {
        Some((found, info)) => {
            let said = Said::of(info.version, info.freshness, way);
            (found?, info, said)
        }
        None => {
            let table = door.cache.snapshot().await?.table(&name).await.map_err(no_table)?;
            let (key, info) = (key::values(table.info(), &parts)?, table.info().clone());
            let row = table.get(key).await?;
            let said = match door.is_local() {
                // As of when the source has no row is not known.
                true => Said { tier: Tier::Delegated, ..Said::of(info.version, None, way) },
                false => Said::of(info.version, info.freshness, way),
            };
            (row, info, said)
        }
    };
    let hits = u64::from(row.is_some());
    door.cache.blocking().record(&Event::Lookups { hits, misses: 1 - hits });
    let said = match &row {
        Some(row) => Said { tier: row.tier(), freshness: row.freshness(), ..said },
        None => said,
    };
    let headers = said.headers();
    let Some(row) = row else {
        return Err(no_such_row(&info, &parts).with_headers(headers));
    };
    let batch = row.to_batch()?;
    let (_, len) = encoder::rows_at_once(&batch, 0, 1)?;
    let encoded = stream::encoding(len, move || match format {
        Format::Json => encoder::object(&batch),
        format => encoder::whole(format, &batch),
    });
    Ok(stream::rows(headers, format, Body::from(encoded.await?)))
}

pub(super) async fn put(
    State(door): State<Arc<Door>>,
    Extension(identity): Extension<Identity>,
    Extension(admitted): Extension<Admitted>,
    request: Request,
) -> Result<Response, Problem> {
    let name = path::table(request.uri())?;
    identity.demand(DOOR, Right::Write, Some(&name))?;
    query::arguments(request.uri(), &[])?;
    let max = door.options.request_bytes_max as u64;
    body::check_headers(request.headers(), max)?;
    if body::media_type(request.headers()) != "application/json" {
        let message = "a row is sent as application/json: one object, whose members are the columns";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
            .hint("with curl: -X PUT --json '{\"name\": \"one\"}'"));
    }
    let parts = path::key(request.uri())?;
    let text = body::whole(request.into_body(), max, door.options.head_timeout).await?;
    let table = door.table(&name).await?;
    let info = table.info().await?;
    key::values(&info, &parts)?;
    let row = with_key(&info, &parts, &text)?;
    let format = RowsFormat::json();
    let dir = door.options.upload_dir.clone();
    let work = Work::begin(admitted, move |wanted| {
        let mut spool = Spool::new(&dir, format)?;
        spool.push(row.as_bytes())?;
        let input = spool.finish()?;
        wanted.check()?;
        load(|| table.blocking().upsert(input))
    });
    written(&door, work.end().await?)
}

pub(super) async fn delete(
    State(door): State<Arc<Door>>,
    Extension(identity): Extension<Identity>,
    Extension(admitted): Extension<Admitted>,
    request: Request,
) -> Result<Response, Problem> {
    let name = path::table(request.uri())?;
    identity.demand(DOOR, Right::Write, Some(&name))?;
    query::arguments(request.uri(), &[])?;
    let parts = path::key(request.uri())?;
    let table: AsyncTable = door.table(&name).await?;
    let key = key::values(&table.info().await?, &parts)?;
    let work = Work::begin(admitted, move |wanted| {
        wanted.check()?;
        table.blocking().delete(key).map_err(Problem::from)
    });
    written(&door, work.end().await?)
}

/// The answer to a write.
pub(super) fn written(door: &Door, version: Version) -> Result<Response, Problem> {
    let headers = Said::of(version, None, door.cache.blocking().way()).headers();
    Ok(document(&json!({ "version": version.to_string() }), headers))
}

fn no_such_row(info: &TableInfo, parts: &[String]) -> Problem {
    let key: String = parts.join(",").chars().take(100).collect();
    let message = format!("the table `{}` has no row with the key `{key}`", info.name);
    Problem::no_such_row(message)
}

/// The row of a body, with the key of the path: its columns may be left out of the body, and nobody may say them differently.
fn with_key(info: &TableInfo, parts: &[String], text: &[u8]) -> Result<String, Problem> {
    let invalid = |message: String| Problem::bad_request("InvalidBody", message);
    let Members(mut row) = serde_json::from_slice(text)
        .map_err(|error| invalid(format!("the body is not a JSON object of columns: {error}")))?;
    for (column, part) in info.rules.primary_key.iter().zip(parts) {
        if let Some(said) = row.get(column) {
            let same = match serde_json::from_str::<String>(said.get()) {
                Ok(said) => said == *part,
                Err(_) => said.get() == part,
            };
            if !same {
                return Err(invalid(format!(
                    "`{column}` is part of the key: write it in the body as in the path, or leave it out"
                )));
            }
        }
        let part = serde_json::value::to_raw_value(part).map_err(|error| invalid(error.to_string()))?;
        row.insert(column.clone(), part);
    }
    serde_json::to_string(&row).map_err(|error| invalid(error.to_string()))
}

/// The members of an object, each of which is there once: of two values of a column, nobody knows which one is meant.
struct Members(BTreeMap<String, Box<RawValue>>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Columns;

        impl<'de> Visitor<'de> for Columns {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of columns")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    let value = map.next_value()?;
                    if members.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("the member `{name}` is there twice")));
                    }
                    members.insert(name, value);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Columns)
    }
}
