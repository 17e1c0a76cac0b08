//! `POST /v1/sql`: a statement and its parameters.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use pillion::{BatchStream, Value};
use pillion_access::{Identity, Right};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::answer::format::Format;
use crate::answer::stream;
use crate::door::{DOOR, Door};
use crate::problem::Problem;
use crate::request::{body, query, value};

/// The body as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    statement: String,
    #[serde(default)]
    params: Vec<Box<RawValue>>,
}

pub(super) async fn query(
    State(door): State<Arc<Door>>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Result<Response, Problem> {
    identity.demand_any_read(DOOR)?;
    query::arguments(request.uri(), &[])?;
    let format = Format::accepted(request.headers())?;
    let max = door.options.request_bytes_max as u64;
    body::check_headers(request.headers(), max)?;
    let media_type = body::media_type(request.headers());
    let text = body::whole(request.into_body(), max, door.options.head_timeout).await?;
    let (statement, parameters) = read(&media_type, &text)?;
    // Only tells which way the text is meant: what the cache lets through as a query reads, whatever its first word is.
    if pillion::modifies(&statement) {
        return Err(Problem::is_no_read());
    }
    let batches = run(&door, &identity, &statement, &parameters).await?;
    let (way, limit) = (door.cache.blocking().way(), door.options.request_timeout);
    Ok(stream::answer(batches, format, way, limit).await?)
}

/// The statement and its parameters.
fn read(media_type: &str, text: &Bytes) -> Result<(String, Vec<Value>), Problem> {
    match media_type {
        "application/json" => {
            let query: Query = serde_json::from_slice(text).map_err(|error| {
                Problem::bad_request("InvalidBody", format!("the body is not a statement: {error}"))
                    .hint("send {\"statement\": \"SELECT $1\", \"params\": [1]}")
            })?;
            let parameters = query.params.iter().enumerate();
            let parameters = parameters.map(|(index, raw)| value::parameter(index + 1, raw));
            Ok((query.statement, parameters.collect::<Result<_, _>>()?))
        }
        "text/plain" | "application/sql" => {
            let statement = std::str::from_utf8(text)
                .map_err(|_| Problem::bad_request("InvalidBody", "the statement is not text in UTF-8"))?;
            Ok((statement.to_owned(), Vec::new()))
        }
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            "a statement is sent as application/json, or alone as text/plain or application/sql",
        )
        .hint("with curl: --json '{\"statement\": \"SELECT 1\"}', or -H 'Content-Type: text/plain' --data-raw 'SELECT 1'")),
    }
}

/// Runs a statement over the tables that an identity may read. It sees no sign of others.
async fn run(
    door: &Door,
    identity: &Identity,
    statement: &str,
    parameters: &[Value],
) -> pillion::Result<BatchStream> {
    if identity.reads_all() {
        return door.cache.sql(statement, parameters).await;
    }
    let snapshot = door.cache.snapshot().await?;
    let readable = snapshot.only_tables(|table| identity.may(Right::Read, Some(table)))?;
    readable.sql(statement, parameters).await
}
