//! `POST /v1/tables/{table}/refresh`: fetches a table from its source now.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use pillion_access::{Identity, Right};

use super::rows::written;
use crate::door::{DOOR, Door, without_others};
use crate::problem::Problem;
use crate::request::{path, query};

pub(super) async fn refresh(
    State(door): State<Arc<Door>>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Result<Response, Problem> {
    let name = path::table(request.uri())?;
    identity.demand(DOOR, Right::Refresh, Some(&name))?;
    query::arguments(request.uri(), &[])?;
    let refreshed = door.cache.refresh(&name).await.map_err(|error| without_others(&name, error));
    let version = refreshed.map_err(|error| match identity.may(Right::Administer, None) {
        true => Problem::of(&error),
        false => Problem::of_refresh(&error),
    })?;
    written(&door, version)
}
