//! `GET`, `PUT` and `DELETE /v1/tables/{table}/{key}`: one row by its key.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use pillion::{AsyncTable, TableInfo, Version};
use pillion_access::{Identity, Right};
use serde_json::json;
use serde_json::value::RawValue;

use super::tables::document;
use super::upload::{RowsFormat, Spool, load};
use crate::answer::encoder::{self, Encoder};
use crate::answer::format::Format;
use crate::answer::said::Said;
use crate::answer::stream;
use crate::door::{DOOR, Door};
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
    // is function calls, which need no other thread.
    let (row, info) = if door.is_local() {
        let table = door.cache.blocking().snapshot()?.table(&name)?;
        let key = key::values(table.info(), &parts)?;
        (table.get(key)?, table.info().clone())
    } else {
        let table = door.cache.snapshot().await?.table(&name).await?;
        let key = key::values(table.info(), &parts)?;
        (table.get(key).await?, table.info().clone())
    };
    let headers = Said::of(info.version, info.freshness, door.cache.blocking().way()).headers();
    let Some(row) = row else {
        return Err(no_such_row(&info, &parts).with_headers(headers));
    };
    let batch = row.to_batch()?;
    let bytes = match format {
        Format::Json => encoder::object(&batch)?.into(),
        format => {
            let mut encoder = Encoder::new(format, batch.schema_ref())?;
            let mut bytes = encoder.write(&batch)?.to_vec();
            bytes.extend_from_slice(&encoder.finish()?);
            bytes
        }
    };
    Ok(stream::rows(headers, format, Body::from(bytes)))
}

pub(super) async fn put(
    State(door): State<Arc<Door>>,
    Extension(identity): Extension<Identity>,
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
    let work = tokio::task::spawn_blocking(move || {
        let mut spool = Spool::new(&dir, format)?;
        spool.push(row.as_bytes())?;
        let input = spool.finish()?;
        load(|| table.blocking().upsert(input))
    });
    let version = work.await.map_err(|_| defect())??;
    written(&door, version)
}

pub(super) async fn delete(
    State(door): State<Arc<Door>>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Result<Response, Problem> {
    let name = path::table(request.uri())?;
    identity.demand(DOOR, Right::Write, Some(&name))?;
    query::arguments(request.uri(), &[])?;
    let parts = path::key(request.uri())?;
    let table: AsyncTable = door.table(&name).await?;
    let key = key::values(&table.info().await?, &parts)?;
    let version = table.delete(key).await?;
    written(&door, version)
}

/// The answer to a write.
pub(super) fn written(door: &Door, version: Version) -> Result<Response, Problem> {
    let headers = Said::of(version, None, door.cache.blocking().way()).headers();
    Ok(document(&json!({ "version": version.to_string() }), headers))
}

/// A thread of the door panicked.
pub(super) fn defect() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal", "a thread of the door panicked")
        .hint("this is a defect of pillion: please report it with the log of the sidecar")
}

fn no_such_row(info: &TableInfo, parts: &[String]) -> Problem {
    let key: String = parts.join(",").chars().take(100).collect();
    let message = format!("the table `{}` has no row with the key `{key}`", info.name);
    Problem::new(StatusCode::NOT_FOUND, "RowNotFound", message)
}

/// The row of a body, with the key of the path: its columns may be left out of the body, and nobody may say them differently.
fn with_key(info: &TableInfo, parts: &[String], text: &[u8]) -> Result<String, Problem> {
    let invalid = |message: String| Problem::bad_request("InvalidBody", message);
    let mut row: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(text)
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
