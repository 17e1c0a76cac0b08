//! The addresses of the door.

mod changes;
mod documents;
mod refresh;
mod rows;
mod sql;
mod status;
mod tables;
mod upload;
mod work;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::{get, post};

use crate::door::Door;
use crate::problem::Problem;

/// Every address with its methods, as the OpenAPI document has them.
pub const ROUTES: &[(&str, &[&str])] = &[
    ("/v1/openapi.json", &["get", "head"]),
    ("/v1/sql", &["post"]),
    ("/v1/status", &["get", "head"]),
    ("/v1/tables", &["get", "head"]),
    ("/v1/tables/{table}", &["get", "head"]),
    ("/v1/tables/{table}/changes", &["get", "head"]),
    ("/v1/tables/{table}/refresh", &["post"]),
    ("/v1/tables/{table}/rows", &["post"]),
    ("/v1/tables/{table}/{key}", &["get", "head", "put", "delete"]),
];

/// The routes of a door.
pub(crate) fn router(door: Arc<Door>) -> Router<()> {
    let row = || get(rows::get).put(rows::put).delete(rows::delete).fallback(wrong_method);
    Router::new()
        .route("/v1/openapi.json", get(documents::openapi).fallback(wrong_method))
        .route("/v1/sql", post(sql::query).fallback(wrong_method))
        .route("/v1/status", get(status::status).fallback(wrong_method))
        .route("/v1/tables", get(tables::list).fallback(wrong_method))
        .route("/v1/tables/{table}", get(tables::describe).fallback(wrong_method))
        .route("/v1/tables/{table}/changes", get(changes::follow).fallback(wrong_method))
        .route("/v1/tables/{table}/refresh", post(refresh::refresh).fallback(wrong_method))
        .route("/v1/tables/{table}/rows", post(upload::upload).fallback(wrong_method))
        // The key that is an empty text.
        .route("/v1/tables/{table}/", row())
        .route("/v1/tables/{table}/{key}", row())
        .fallback(unknown)
        .with_state(door)
}

async fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "UnknownAddress", "there is nothing at this address")
        .hint("GET /v1/openapi.json describes all addresses; a slash within a key is written %2F")
}

async fn wrong_method(request: Request) -> Problem {
    let message = format!(
        "this address does not take {}",
        request.method().as_str().chars().take(20).collect::<String>()
    );
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "WrongMethod", message)
        .hint("GET /v1/openapi.json describes all addresses")
}
