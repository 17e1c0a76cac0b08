//! `GET /v1/openapi.json`: the description of the door.

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;
use crate::request::query;

/// OpenAPI 3.1. A test holds it against the server.
const OPENAPI: &str = include_str!("openapi.json");

pub(super) async fn openapi(request: Request) -> Result<Response, Problem> {
    query::arguments(request.uri(), &[])?;
    let mut response = OPENAPI.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
