//! `GET /v1/tables` and `GET /v1/tables/{table}`: which tables there are, and what they are.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pillion::{FollowPhase, RefreshState, RefreshStatus, TableInfo};
use pillion_access::{Identity, Right};
use pillion_door::said::{Said, moment};
use serde_json::{Value, json};

use crate::door::{DOOR, Door};
use crate::problem::Problem;
use crate::request::{path, query};

pub(super) async fn list(
    State(door): State<Arc<Door>>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Result<Response, Problem> {
    query::arguments(request.uri(), &[])?;
    let snapshot = door.cache.snapshot().await?;
    let mut tables = snapshot.tables().await?;
    tables.retain(|table| identity.may(Right::Read, Some(&table.name)));
    let freshness = tables.iter().filter_map(|table| table.freshness).reduce(pillion::Freshness::older);
    let headers = Said::of(snapshot.version().await?, freshness, door.cache.blocking().way()).headers();
    let tables: Vec<Value> = tables.iter().map(|table| described(table, &identity)).collect();
    Ok(document(&json!({ "tables": tables }), headers))
}

pub(super) async fn describe(
    State(door): State<Arc<Door>>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Result<Response, Problem> {
    let name = path::table(request.uri())?;
    identity.demand(DOOR, Right::Read, Some(&name))?;
    query::arguments(request.uri(), &[])?;
    let info = door.table(&name).await?.info().await?;
    let mut description = described(&info, &identity);
    // Only the process that owns the cache refreshes tables.
    if let Ok(refreshes) = door.cache.refreshes().await
        && let Some(status) = refreshes.iter().find(|status| status.table == name)
        && let Some(members) = description.as_object_mut()
    {
        members.insert("refresh".to_owned(), refreshing(status, &identity));
    }
    let headers = Said::of(info.version, info.freshness, door.cache.blocking().way()).headers();
    Ok(document(&description, headers))
}

/// A table as JSON. What was found damaged names files, and is for administrators.
pub(super) fn described(info: &TableInfo, identity: &Identity) -> Value {
    let columns: Vec<Value> = info
        .schema
        .fields()
        .iter()
        .map(|field| {
            json!({ "name": field.name(), "type": field.data_type().to_string(), "nullable": field.is_nullable() })
        })
        .collect();
    let rules = &info.rules;
    let retention = rules.retention.as_ref();
    let retention = retention.map(|it| json!({ "column": it.column, "age_seconds": it.age.as_secs_f64() }));
    let holds = rules.working_set.as_ref();
    let holds = holds.map(|it| json!({ "where": it.condition, "on_miss": it.on_miss.to_string() }));
    let mut description = json!({
        "name": info.name,
        "columns": columns,
        "primary_key": rules.primary_key,
        "sort_by": rules.sort_by,
        "write_policy": rules.write_policy.to_string(),
        "retention": retention,
        "holds": holds,
        "max_staleness_seconds": rules.max_staleness.map(|bound| bound.as_secs_f64()),
        "rows": info.rows,
        "bytes": info.bytes,
        "version": info.version.to_string(),
        "as_of": info.freshness.map(|freshness| moment(freshness.as_of)),
        "age_seconds": info.freshness.map(|freshness| freshness.age().as_secs_f64()),
        "damaged": info.damage.is_some(),
    });
    if identity.may(Right::Administer, None)
        && let Some(members) = description.as_object_mut()
    {
        members.insert("damage".to_owned(), info.damage.clone().into());
    }
    description
}

/// How the refreshes of a table stand, as JSON. Where rows come from, and what went wrong there, is for administrators: errors of
/// sources name hosts and users.
pub(super) fn refreshing(status: &RefreshStatus, identity: &Identity) -> Value {
    let (state, rows) = match &status.state {
        RefreshState::Waiting(_) => ("waiting", None),
        RefreshState::Due => ("due", None),
        RefreshState::Running { rows, .. } => ("running", Some(*rows)),
        RefreshState::Paused => ("paused", None),
        _ => ("unknown", None),
    };
    let following = status.following.as_ref().map(|following| match following.phase {
        FollowPhase::Copying => "copying",
        FollowPhase::Following => "following",
        FollowPhase::Waiting => "waiting",
        FollowPhase::Stale(_) => "stale",
        _ => "unknown",
    });
    let mut description = json!({
        "state": state,
        "following": following,
        "rows_so_far": rows,
        "succeeded": status.succeeded,
        "failures": status.failures,
        "last_success": status.last_success.map(moment),
    });
    if identity.may(Right::Administer, None)
        && let Some(members) = description.as_object_mut()
    {
        members.insert("source".to_owned(), status.source.clone().into());
        let error = status.last_error.as_ref().map(|error| error.message());
        members.insert("last_error".to_owned(), error.into());
    }
    description
}

/// A JSON document as an answer.
pub(super) fn document(document: &Value, headers: HeaderMap) -> Response {
    let mut response = document.to_string().into_response();
    response.headers_mut().extend(headers);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
