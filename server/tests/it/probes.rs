//! What probes and scrapers ask over HTTP, as the tests do.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value as Json;

use crate::sidecar::Sidecar;

/// A listener for probes on a port that is free.
pub(crate) const HEALTH: &str = "[health]\nlisten = \"127.0.0.1:0\"\n";

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Response {
    /// Its status.
    pub(crate) code: u16,
    /// Its headers, by name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// Its body.
    pub(crate) body: String,
}

impl Response {
    /// Its body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Json {
        assert_eq!(self.headers["content-type"], "application/json", "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Where a sidecar answers probes, as its log says.
pub(crate) fn address(sidecar: &Sidecar) -> String {
    sidecar.says("probes and metrics are answered");
    let log = sidecar.log();
    let line = log.lines().find(|line| line.contains("probes and metrics are answered")).unwrap();
    line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

/// Asks a sidecar.
pub(crate) fn get(sidecar: &Sidecar, path: &str) -> Response {
    send(&address(sidecar), &format!("GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"))
}

/// Sends a request and reads the whole answer.
pub(crate) fn send(address: &str, request: &str) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let code = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Response { code, headers, body: body.to_owned() }
}

/// Asks until the answer is as wanted. The test is stuck if it never is.
pub(crate) fn get_until(sidecar: &Sidecar, path: &str, is_wanted: impl Fn(&Response) -> bool) -> Response {
    loop {
        let response = get(sidecar, path);
        if is_wanted(&response) {
            return response;
        }
        std::thread::yield_now();
    }
}
