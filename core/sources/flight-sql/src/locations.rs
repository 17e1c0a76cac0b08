//! Other addresses that a server gives for rows, and which of them are followed.

use arrow_flight::FlightEndpoint;
use pillion::{Error, ErrorCode, Result};

use crate::address::{Address, Place, place};

/// What happens where a server says that rows are to be fetched from another address.
///
/// Whoever follows such an address sends it the credentials of this source. So an address is followed only if its host is
/// named here, and never without encryption if the server itself is reached with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Locations {
    /// The fetch fails, and the error names the address. Rows that the server itself has are fetched.
    #[default]
    Refuse,
    /// All rows are asked of the server of the URL, whatever it says. Some servers give addresses at which nobody can reach
    /// them, and have all rows themselves.
    Own,
    /// These hosts are followed: `host`, `host:port`, or `*.domain` for all hosts of a domain.
    Hosts(Vec<String>),
}

impl Locations {
    /// `own`, or hosts with commas between them.
    pub(crate) fn parse(text: &str) -> Self {
        match text.trim() {
            "own" => Self::Own,
            text => {
                let hosts = text.split(',').map(|host| host.trim().to_ascii_lowercase());
                Self::Hosts(hosts.filter(|host| !host.is_empty()).collect())
            }
        }
    }

    /// The addresses at which an endpoint may be asked for, the best first; `None` stands for the server `own` itself.
    ///
    /// # Errors
    /// [`ErrorCode::SourceRefused`] if none of them may be followed.
    pub(crate) fn of(&self, endpoint: &FlightEndpoint, own: &Address) -> Result<Vec<Option<Address>>> {
        if *self == Self::Own || endpoint.location.is_empty() {
            return Ok(vec![None]);
        }
        let mut others = Vec::new();
        for location in &endpoint.location {
            match place(&location.uri) {
                Place::Same => return Ok(vec![None]),
                Place::Other(address) if address == *own => return Ok(vec![None]),
                Place::Other(address) if self.allows(&address, own) => others.push(Some(address)),
                Place::Other(_) | Place::Unknown => {}
            }
        }
        if !others.is_empty() {
            return Ok(others);
        }
        let named: Vec<&str> = endpoint.location.iter().map(|location| location.uri.as_str()).collect();
        let message = format!(
            "the server says that rows are at {}, which may not be followed: name the host in the option `locations` if it may \
             have the credentials of this source, or set `locations` to `own` if the server has all rows itself",
            named.join(", ")
        );
        Err(Error::new(ErrorCode::SourceRefused, message))
    }

    fn allows(&self, address: &Address, own: &Address) -> bool {
        let (Self::Hosts(hosts), Address::Tcp { host, port, is_encrypted }) = (self, address) else {
            return false;
        };
        let is_weaker = !is_encrypted && matches!(own, Address::Tcp { is_encrypted: true, .. });
        let with_port = format!("{host}:{port}");
        let is_named = |named: &String| match named.strip_prefix("*.") {
            Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
            None => named == host || *named == with_port,
        };
        !is_weaker && hosts.iter().any(is_named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::FlightSqlOptions;

    fn of(locations: &Locations, url: &str, uris: &[&str]) -> Result<Vec<String>> {
        let own = FlightSqlOptions::from_url(url)?.address;
        let endpoint = uris.iter().fold(FlightEndpoint::new(), |endpoint, uri| endpoint.with_location(*uri));
        let found = locations.of(&endpoint, &own)?;
        Ok(found
            .iter()
            .map(|address| address.as_ref().map_or_else(|| "own".to_owned(), ToString::to_string))
            .collect())
    }

    #[test]
    fn only_named_hosts_are_followed() {
        let (own, refuse) = ("grpc+tls://db:1", Locations::Refuse);
        let hosts = Locations::parse("w1, W2:7,*.example.org");
        for (locations, uris, expected) in [
            (&refuse, &[][..], Some("own")),
            (&refuse, &["arrow-flight-reuse-connection://?"], Some("own")),
            (&refuse, &["grpc+tls://evil:1", "grpc+tls://DB:1"], Some("own")),
            (&refuse, &["grpc+tls://w1:1"], None),
            (&Locations::Own, &["grpc+tls://evil:1"], Some("own")),
            (&hosts, &["grpc+tls://w1:9", "grpc+tls://evil:1", "grpc+tls://w2:7"], Some("w1:9 w2:7")),
            (&hosts, &["grpc+tls://w2:8"], None),
            (&hosts, &["grpc+tls://a.example.org"], Some("a.example.org:443")),
            (&hosts, &["grpc+tls://evilexample.org"], None),
            (&hosts, &["grpc+tls://example.org"], None),
            // The credentials would travel in the clear.
            (&hosts, &["grpc://w1:9"], None),
            (&hosts, &["https://w1/rows"], None),
            (&hosts, &["grpc+unix:///w1"], None),
        ] {
            let found = of(locations, own, uris);
            match (found, expected) {
                (Ok(found), Some(expected)) => assert_eq!(found.join(" "), expected, "{uris:?}"),
                (Err(error), None) => {
                    assert_eq!(error.code(), ErrorCode::SourceRefused);
                    assert!(error.message().contains(uris[0]), "{error}");
                }
                (found, _) => panic!("{uris:?}: {found:?}"),
            }
        }
        assert_eq!(of(&hosts, "grpc://db:1", &["grpc://w1:9"]).unwrap(), ["w1:9"]);
    }
}
