//! A small server of files over HTTP.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Serves files from memory. It lists nothing, as most such servers. Ends when dropped.
pub(crate) struct FileServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: HashMap<String, (Vec<u8>, String)>,
    /// Requests as `GET /path`, with the range if there is one.
    requests: Vec<String>,
    gives_whole_files: bool,
    /// What `Authorization` must be.
    authorization: Option<String>,
    ended: bool,
}

impl FileServer {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let of_thread = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if of_thread.lock().unwrap().ended {
                    return;
                }
                let state = of_thread.clone();
                std::thread::spawn(move || serve(&state, &client.unwrap()));
            }
        });
        Self { address, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn put(&self, path: &str, bytes: impl Into<Vec<u8>>, tag: &str) {
        let file = (bytes.into(), format!("\"{tag}\""));
        self.state.lock().unwrap().files.insert(path.to_owned(), file);
    }

    /// As servers that know no ranges.
    pub(crate) fn give_whole_files(&self) {
        self.state.lock().unwrap().gives_whole_files = true;
    }

    pub(crate) fn demand(&self, authorization: &str) {
        self.state.lock().unwrap().authorization = Some(authorization.to_owned());
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.state.lock().unwrap().ended = true;
        drop(TcpStream::connect(self.address));
    }
}

fn serve(state: &Mutex<State>, client: &TcpStream) {
    let mut lines = BufReader::new(client).lines();
    while let Some(Ok(request)) = lines.next() {
        let headers = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty());
        let headers: HashMap<String, String> = headers
            .filter_map(|line| {
                line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            })
            .collect();
        let (head, body) = answer(&mut state.lock().unwrap(), &request, &headers);
        let mut client = client;
        if client.write_all(head.as_bytes()).and_then(|()| client.write_all(&body)).is_err() {
            return;
        }
    }
}

fn answer(state: &mut State, request: &str, headers: &HashMap<String, String>) -> (String, Vec<u8>) {
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap_or("/").trim_start_matches('/'));
    let range = headers.get("range").cloned();
    state.requests.push(format!("{method} /{path} {}", range.as_deref().unwrap_or("")).trim().to_owned());
    let failed = |status: &str| (format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"), Vec::new());
    if state.authorization.is_some() && state.authorization.as_ref() != headers.get("authorization") {
        return failed("401 Unauthorized");
    }
    if method != "GET" && method != "HEAD" {
        let page = "<!DOCTYPE HTML>\n<html><body><h1>Error response</h1></body></html>\n";
        let head = format!("HTTP/1.1 405 Method Not Allowed\r\nContent-Length: {}\r\n\r\n", page.len());
        return (head, page.as_bytes().to_vec());
    }
    let Some((bytes, tag)) = state.files.get(path) else { return failed("404 Not Found") };
    if headers.get("if-match").is_some_and(|wanted| wanted != tag) {
        return failed("412 Precondition Failed");
    }
    let range = range.filter(|_| !state.gives_whole_files).map(|range| {
        let (start, end) = range.trim_start_matches("bytes=").split_once('-').unwrap();
        (start.parse::<usize>().unwrap(), (end.parse::<usize>().unwrap() + 1).min(bytes.len()))
    });
    let (status, (start, end)) = match range {
        Some(range) => ("206 Partial Content", range),
        None => ("200 OK", (0, bytes.len())),
    };
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: {tag}\r\n", end - start);
    head += "Last-Modified: Tue, 01 Jan 2013 10:00:00 GMT\r\n";
    if range.is_some() {
        head += &format!("Content-Range: bytes {start}-{}/{}\r\n", end - 1, bytes.len());
    }
    let body = if method == "HEAD" { Vec::new() } else { bytes[start..end].to_vec() };
    (head + "\r\n", body)
}
