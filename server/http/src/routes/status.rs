//! `GET /v1/status`: how the cache and the door stand.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use pillion::Freshness;
use pillion_access::{Identity, Right};
use pillion_door::said::Said;
use serde_json::{Value, json};

use super::tables::{described, document, refreshing};
use crate::door::{DOOR, Door};
use crate::problem::Problem;
use crate::request::query;

pub(super) async fn status(
    State(door): State<Arc<Door>>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Result<Response, Problem> {
    identity.demand(DOOR, Right::Administer, None)?;
    query::arguments(request.uri(), &[])?;
    let status = door.cache.status().await?;
    let refreshes = door.cache.refreshes().await.unwrap_or_default();
    let tables: Vec<Value> = status
        .tables
        .iter()
        .map(|table| {
            let mut description = described(table, &identity);
            if let (Some(members), Some(status)) =
                (description.as_object_mut(), refreshes.iter().find(|status| status.table == table.name))
            {
                members.insert("refresh".to_owned(), refreshing(status, &identity));
            }
            description
        })
        .collect();
    let freshness = status.tables.iter().filter_map(|table| table.freshness).reduce(Freshness::older);
    let headers = Said::of(status.version, freshness, status.way).headers();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let body = json!({
        "way": status.way.to_string(),
        "dir": status.dir.display().to_string(),
        "version": status.version.to_string(),
        "damage": status.damage,
        "poisoned": status.poisoned,
        "tables": tables,
        "http": {
            "connections": door.connections.count(),
            "refused_connections": count(&door.refused_connections),
            "requests": count(&door.counts.requests),
            "denials": door.access.denials().so_far(),
        },
    });
    Ok(document(&body, headers))
}
