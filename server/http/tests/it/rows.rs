//! Rows by their keys.

use serde_json::{Value, json};

use crate::support::Served;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[test]
fn one_row_is_found_by_its_key() {
    let served = Served::open();
    let row = served.get("/v1/tables/items/1").json();
    assert_eq!(row["name"], "plain");
    assert_eq!(
        (&row["price"], &row["day"], &row["raw"]),
        (&json!(0.5), &json!("2013-01-01"), &json!("00ff"))
    );
    let csv = served.send("GET", "/v1/tables/items/3", &[("accept", "text/csv")], "");
    assert_eq!(csv.text(), "id,name,price,exact,large,day,sold,raw\n3,,,,,,1970-01-01T00:00:00,\"\"\n");
    let row = served.get("/v1/tables/flights/2013-01-01T10:00:00,UA,1545").json();
    assert_eq!(row["late"], true);
    let row = served.get("/v1/tables/flights/2013-01-01T11:00:00,A%2CB%2FC%20%C3%A9,7").json();
    assert_eq!((&row["carrier"], &row["late"]), (&json!("A,B/C é"), &json!(false)));
    let head = served.send("HEAD", "/v1/tables/items/1", &[], "");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn no_such_row_and_no_such_table_are_told_apart() {
    let served = Served::open();
    served.get("/v1/tables/items/99").problem(404, "RowNotFound", "no row with the key `99`");
    let none = served.get("/v1/tables/itms/99").problem(404, "TableNotFound", "there is no table `itms`");
    assert_eq!(none["code"], 101);
    served.get("/v1/tables/items/x").problem(400, "InvalidKey", "`x` is not a value of the key column `id`");
    served.get("/v1/tables/items/1,2").problem(400, "InvalidKey", "has 1 parts");
    served.get("/v1/tables/flights/1").problem(400, "InvalidKey", "time_hour, carrier, flight");
    served.get("/v1/tables/flights/noon,UA,1").problem(400, "InvalidKey", "");
    served.get("/v1/tables/items/%FF").problem(400, "InvalidPath", "UTF-8");
    served.get("/v1/tables/items/").problem(400, "InvalidKey", "");
    served.get("/v1/tables/items/a/b").problem(404, "UnknownAddress", "%2F");
}

#[test]
fn rows_are_written_and_removed_by_their_keys() {
    let served = Served::open();
    let before = served.cache.version().unwrap();
    let row =
        json!({ "name": "six\n'", "price": 1.5, "exact": "12345678901234567.89", "raw": "ff", "day": null });
    let put = served.send("PUT", "/v1/tables/items/6", &JSON, row.to_string());
    let version = put.json()["version"].as_str().unwrap().to_owned();
    assert_eq!(put.header("pillion-version"), version);
    assert_eq!(version, served.cache.version().unwrap().to_string());
    assert_ne!(version, before.to_string());
    let found = served.get("/v1/tables/items/6");
    assert!(found.text().contains("\"exact\":12345678901234567.89"), "no digit is lost: {}", found.text());
    assert_eq!(found.json()["name"], "six\n'");
    assert_eq!(found.json()["sold"], Value::Null, "what is left out is null");
    // Written as people write JSON, with the key in the body, and digits that a float would lose.
    let pretty = "{\n  \"id\": 6,\n  \"exact\": 12345678901234567.88,\n  \"name\": \"again\"\n}\n";
    served.send("PUT", "/v1/tables/items/6", &JSON, pretty).json();
    let found = served.get("/v1/tables/items/6");
    assert!(found.text().contains("\"exact\":12345678901234567.88"), "{}", found.text());
    assert_eq!(found.json()["price"], Value::Null, "the row was replaced as a whole");
    served.send("PUT", "/v1/tables/flights/2013-01-01T12:00:00,B%2CC,8", &JSON, "{\"late\":true}").json();
    assert_eq!(served.get("/v1/tables/flights/2013-01-01T12:00:00,B%2CC,8").json()["late"], true);
    assert_eq!(served.send("DELETE", "/v1/tables/items/6", &[], "").status, 200);
    served.get("/v1/tables/items/6").problem(404, "RowNotFound", "");
    assert_eq!(served.send("DELETE", "/v1/tables/items/6", &[], "").status, 200, "and that is no error");
    assert_eq!(served.cache.table("items").unwrap().info().unwrap().rows, 5);
}

#[test]
fn a_row_that_does_not_fit_is_refused_and_changes_nothing() {
    let served = Served::open();
    let before = served.cache.version().unwrap();
    let put = |body: &str| served.send("PUT", "/v1/tables/items/1", &JSON, body.to_owned());
    put("{\"id\": 2}").problem(400, "InvalidBody", "`id` is part of the key");
    put("{\"nme\": \"x\"}").problem(400, "SourceInvalid", "nme");
    put("{\"price\": \"much\"}").problem(400, "SourceInvalid", "much");
    put("{\"large\": -1}").problem(400, "SourceInvalid", "-1");
    put("[]").problem(400, "InvalidBody", "not a JSON object");
    put("{").problem(400, "InvalidBody", "");
    put("").problem(400, "InvalidBody", "");
    put("{\"name\": \"x\", \"name\": \"y\"}").problem(400, "InvalidBody", "`name` is there twice");
    let text = put("{\"price\": \"much\"}").text().to_owned();
    assert!(text.contains("the body") && !text.contains("/proc"), "{text}");
    served.send("PUT", "/v1/tables/items/1", &[("content-type", "text/csv")], "1").problem(
        415,
        "UnsupportedMediaType",
        "",
    );
    served.send("PUT", "/v1/tables/none/1", &JSON, "{}").problem(404, "TableNotFound", "");
    served.send("DELETE", "/v1/tables/items/x", &[], "").problem(400, "InvalidKey", "");
    assert_eq!(served.cache.version().unwrap(), before);
}

#[test]
fn tables_are_described() {
    let served = Served::open();
    let tables = served.get("/v1/tables").json();
    let names: Vec<&str> =
        tables["tables"].as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["flights", "items"]);
    let items = served.get("/v1/tables/items").json();
    assert_eq!(items["primary_key"], json!(["id"]));
    assert_eq!((&items["rows"], &items["write_policy"]), (&json!(5), &json!("anyone")));
    assert_eq!(items["columns"][0], json!({ "name": "id", "type": "Int64", "nullable": false }));
    assert_eq!(items["version"], served.cache.version().unwrap().to_string());
    assert_eq!(items["damaged"], false);
    served.get("/v1/tables/itms").problem(404, "TableNotFound", "there is no table `itms`");
    served.send("POST", "/v1/tables/items/refresh", &[], "").problem(400, "InvalidArgument", "source");
    let status = served.get("/v1/status").json();
    assert_eq!(status["tables"].as_array().unwrap().len(), 2);
    assert!(status["http"]["requests"].as_u64().unwrap() > 3, "{status}");
}
