//! The OpenAPI document and the page of documentation, held against the server.

use std::collections::BTreeSet;
use std::process::Command;

use pillion_access::{Permissions, Tables};
use pillion_http::{HttpOptions, ROUTES};
use serde_json::Value;

use crate::support::{Reply, Served, listen, report, token};

fn document() -> Value {
    Served::open().get("/v1/openapi.json").json()
}

/// What a reference stands for.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            let target = document.pointer(reference.strip_prefix('#').unwrap());
            resolved(document, target.unwrap_or_else(|| panic!("{reference} is not there")))
        }
        None => value,
    }
}

/// Fails unless a value is as a schema says, as far as the document uses schemas.
fn check(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolved(document, schema);
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
        assert!(allowed.contains(value), "{at}: {value} is none of {allowed:?}");
    }
    if let Some(types) = schema.get("type") {
        let types: Vec<&str> = match types {
            Value::Array(types) => types.iter().map(|of| of.as_str().unwrap()).collect(),
            one => vec![one.as_str().unwrap()],
        };
        let fits = types.iter().any(|of| match *of {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("{other}"),
        });
        assert!(fits, "{at}: {value} is no {types:?}");
    }
    if let (Some(items), Value::Array(values)) = (schema.get("items"), value) {
        values.iter().for_each(|value| check(document, items, value, at));
    }
    let Value::Object(members) = value else { return };
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        assert!(members.contains_key(name.as_str().unwrap()), "{at}: {name} is missing in {value}");
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, value) in members {
        let property = properties.get(name).unwrap_or_else(|| panic!("{at}: `{name}` is not documented"));
        check(document, property, value, &format!("{at}.{name}"));
    }
}

/// Method, address, what follows it, headers and body of a request.
type Case<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

/// Fails unless an answer is as the document says for an address.
fn documented(document: &Value, method: &str, path: &str, reply: &Reply) {
    let at = format!("{method} {path} {}", reply.status);
    let operation = &document["paths"][path][method];
    let response = operation["responses"].get(reply.status.to_string());
    let response = resolved(document, response.unwrap_or_else(|| panic!("{at} is not documented")));
    if method == "head" {
        assert!(reply.body.is_empty(), "{at}");
        return;
    }
    let media_type = reply.header("content-type").split(';').next().unwrap();
    let content = response["content"].get(media_type);
    let content = content.unwrap_or_else(|| panic!("{at}: {media_type} is not documented"));
    if media_type.ends_with("json") && !media_type.contains("ndjson") {
        check(document, &content["schema"], &serde_json::from_slice(&reply.body).unwrap(), &at);
    }
    for header in response.get("headers").and_then(Value::as_object).into_iter().flat_map(|all| all.keys()) {
        if !["Pillion-As-Of", "Pillion-Age", "Pillion-Certificate"].contains(&header.as_str()) {
            assert!(reply.headers.contains_key(header.to_lowercase()), "{at} lacks {header}");
        }
    }
    for name in reply.headers.keys().filter(|name| name.as_str().starts_with("pillion-")) {
        let headers = document["components"]["headers"].as_object().unwrap();
        assert!(headers.keys().any(|known| known.eq_ignore_ascii_case(name.as_str())), "{at}: {name}");
    }
}

#[test]
fn the_document_has_every_address_and_no_other() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let methods = ["get", "head", "put", "post", "delete"];
    let in_document: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let there = methods.iter().filter(|method| item.get(**method).is_some());
            there.map(|method| (path.clone(), (*method).to_owned())).collect::<Vec<_>>()
        })
        .collect();
    let served: BTreeSet<(String, String)> = ROUTES
        .iter()
        .flat_map(|(path, methods)| methods.iter().map(|method| ((*path).to_owned(), (*method).to_owned())))
        .collect();
    assert_eq!(in_document, served);
    // Every reference leads somewhere.
    let text = document.to_string();
    for (at, _) in text.match_indices("\"$ref\":\"") {
        let reference = text[at + 8..].split('"').next().unwrap();
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
    // And the server has them: another method is refused, and names those that are taken.
    let served = Served::open();
    for (path, methods) in ROUTES {
        let path = path.replace("{table}", "items").replace("{key}", "1");
        let other = served.send("PATCH", &path, &[], "");
        other.problem(405, "WrongMethod", "PATCH");
        let allowed = other.header("allow").to_lowercase();
        assert!(methods.iter().all(|method| allowed.contains(method)), "{path}: {allowed}");
    }
}

#[test]
fn answers_are_as_the_document_says() {
    let document = document();
    let served = Served::open();
    let json = [("content-type", "application/json")];
    let csv = [("content-type", "text/csv")];
    let cases: &[Case<'_>] = &[
        (
            "post",
            "/v1/sql",
            "",
            &json,
            "{\"statement\":\"SELECT * FROM items WHERE id = $1\",\"params\":[1]}",
        ),
        ("post", "/v1/sql", "", &json, "{\"statement\":\"SELECT\"}"),
        ("post", "/v1/sql", "", &json, "{\"statement\":\"SELECT * FROM none\"}"),
        ("post", "/v1/sql", "", &csv, "SELECT 1"),
        ("post", "/v1/sql", "", &[("content-type", "text/plain"), ("accept", "image/png")], "SELECT 1"),
        ("post", "/v1/sql", "", &[("content-type", "text/plain"), ("accept", "text/csv")], "SELECT 1"),
        ("head", "/v1/tables/{table}/{key}", "", &[], ""),
        ("head", "/v1/tables", "", &[], ""),
        ("get", "/v1/status", "", &[], ""),
        ("get", "/v1/status", "?x", &[], ""),
        ("get", "/v1/tables", "", &[], ""),
        ("get", "/v1/tables/{table}", "", &[], ""),
        ("get", "/v1/tables/{table}/{key}", "", &[], ""),
        ("get", "/v1/tables/{table}/{key}", "0", &[], ""),
        ("get", "/v1/tables/{table}/{key}", "x", &[], ""),
        ("put", "/v1/tables/{table}/{key}", "", &json, "{\"name\":\"x\"}"),
        ("put", "/v1/tables/{table}/{key}", "", &json, "{\"nme\":\"x\"}"),
        ("put", "/v1/tables/{table}/{key}", "", &csv, ""),
        ("delete", "/v1/tables/{table}/{key}", "", &[], ""),
        ("post", "/v1/tables/{table}/rows", "?mode=upsert", &csv, "id\n7\n"),
        ("post", "/v1/tables/{table}/rows", "?mode=append", &csv, "id\n7\n"),
        ("post", "/v1/tables/{table}/rows", "", &csv, "id\n7\n"),
        ("post", "/v1/tables/{table}/refresh", "", &[], ""),
        ("get", "/v1/tables/{table}/changes", "?since=x", &[], ""),
        ("get", "/v1/tables/{table}/changes", "?since=0000000000000001.1", &[], ""),
        ("get", "/v1/openapi.json", "", &[], ""),
    ];
    for (method, path, more, headers, body) in cases {
        let real = path.replace("{table}", "items").replace("{key}", "1") + more;
        let reply = served.send(&method.to_uppercase(), &real, headers, (*body).to_owned());
        documented(&document, method, path, &reply);
    }
    // Whoever has no token, or one without permissions, gets what is documented too.
    let served = Served::with(HttpOptions::new(listen()), &[("none", Permissions::default())], None);
    let bearer = format!("Bearer {}", token("none"));
    for (path, methods) in ROUTES {
        for method in *methods {
            let real = path.replace("{table}", "items").replace("{key}", "1");
            for headers in [&[][..], &[("authorization", bearer.as_str())]] {
                documented(&document, method, path, &served.send(&method.to_uppercase(), &real, headers, ""));
            }
        }
    }
}

/// Every example of docs/http.md is run as it stands there.
#[test]
fn the_examples_of_the_page_work() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/http.md")).unwrap();
    if !Command::new("curl").arg("--version").output().is_ok_and(|done| done.status.success()) {
        return report::not_run("there is no curl to run the examples of docs/http.md with");
    }
    let permissions =
        Permissions { read: Tables::All, write: Tables::All, refresh: Tables::All, administer: true };
    let served = Served::with(HttpOptions::new(listen()), &[("reader", permissions)], None);
    let mut run = 0;
    for block in page.split("```sh\n").skip(1) {
        let script = block.split("```").next().unwrap();
        if !script.contains("curl") || script.contains("changes") || script.contains("https:") {
            continue;
        }
        let done = Command::new("sh")
            .args(["-e", "-c", script])
            .env("PILLION", format!("http://{}", served.address()))
            .env("TOKEN", token("reader"))
            .current_dir(served.dir.path())
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{script}\n{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        run += script.matches("curl").count();
    }
    assert!(run == 9, "{run} examples ran");
}
