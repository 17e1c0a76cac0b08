//! `POST /v1/tables/{table}/refresh`: fetches a table from its source now.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use pillion_access::{Identity, Right};

use super::rows::written;
use crate::door::{DOOR, Door};
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
    let version = door.cache.refresh(&name).await?;
    written(&door, version)
}
