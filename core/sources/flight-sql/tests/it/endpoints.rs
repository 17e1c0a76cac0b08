//! Rows in several parts, and at other addresses.

use arrow::compute::concat_batches;
use pillion::ErrorCode;
use pillion_flight_sql::Locations;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener};

use crate::support::peer::{Manners, Peer};
use crate::support::{all, numbers, options, table};

const TOKEN: &str = "t0ken-of-the-test";
const SAME: &str = "arrow-flight-reuse-connection://?";

fn in_parts(locations: Vec<Vec<String>>) -> Peer {
    let parts = vec![vec![numbers(0, 2), numbers(2, 1)], vec![], vec![numbers(3, 4)]];
    Peer::start(Manners { parts, locations, token: Some(TOKEN), ..Manners::default() })
}

#[test]
fn all_parts_come_in_their_order() {
    for locations in [vec![], vec![vec![SAME.to_owned()]; 3]] {
        let peer = in_parts(locations);
        let source = options(&peer.url()).token(TOKEN).build().unwrap();
        let found = all(&source, &table("rows")).unwrap();
        assert_eq!(found, concat_batches(&found.schema(), &[numbers(0, 7)]).unwrap());
    }
}

#[test]
fn a_unix_socket_is_an_address() {
    let peer = Peer::of(numbers(0, 3));
    let (dir, address) = (tempfile::tempdir().unwrap(), peer.address());
    let path = dir.path().join("a socket");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(async { UnixListener::bind(&path) }).unwrap();
    runtime.spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(address).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    let url = format!("grpc+unix://{}", path.display().to_string().replace(' ', "%20"));
    let source = options(&url).build().unwrap();
    assert_eq!(all(&source, &table("rows")).unwrap(), numbers(0, 3));
}

#[test]
fn another_address_gets_the_token_only_if_it_is_named() {
    let other = in_parts(vec![]);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let uris = [gone, other.address()].map(|address| format!("grpc://{address}"));
    let peer = in_parts(vec![vec![], vec![], uris.to_vec()]);
    let reached = |locations: Locations| {
        let source = options(&peer.url()).token(TOKEN).locations(locations).build().unwrap();
        all(&source, &table("rows"))
    };
    for locations in [Locations::default(), Locations::Hosts(vec!["localhost".into(), "127.0.0.1:1".into()])]
    {
        let error = reached(locations).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceRefused, "{error}");
        assert!(error.message().contains(&uris[1]) && error.message().contains("`locations`"), "{error}");
        assert_eq!(other.log(), [""; 0]);
    }
    assert_eq!(reached(Locations::Own).unwrap(), numbers(0, 7));
    assert_eq!(other.log(), [""; 0]);
    // The first address is tried, and the second one has the rows.
    assert_eq!(reached(Locations::Hosts(vec!["127.0.0.1".into()])).unwrap(), numbers(0, 7));
    assert_eq!(other.log().len(), 1);
    assert!(other.log()[0].contains(TOKEN));
}
