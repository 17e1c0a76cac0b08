//! What every answer says of itself, in its headers.

use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderValue};
use chrono::{DateTime, SecondsFormat, Utc};
use pillion::{BatchStream, Certificate, Freshness, TableCertificate, Tier, Version, Way};
use serde_json::json;

/// The version of the cache that was read or written.
pub(crate) const VERSION: &str = "pillion-version";
/// The moment as of which the answer is complete.
pub(crate) const AS_OF: &str = "pillion-as-of";
/// Seconds since then.
pub(crate) const AGE: &str = "pillion-age";
/// Which tier answered.
pub(crate) const TIER: &str = "pillion-tier";
/// How the door reaches the cache.
pub(crate) const WAY: &str = "pillion-way";
/// Whether the answer has all rows that the sources of its tables would have given: `complete` or `partial`.
pub(crate) const EXTENT: &str = "pillion-extent";
/// What shows that, for one table that holds only some rows of its source. Once for each of them.
pub(crate) const CERTIFICATE: &str = "pillion-certificate";

/// The most tables that headers tell of, and the longest text of one: clients bound what they take.
const CERTIFICATES_MAX: usize = 16;
const CERTIFICATE_LEN_MAX: usize = 1000;

/// What an answer says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) version: Version,
    pub(crate) freshness: Option<Freshness>,
    pub(crate) tier: Tier,
    pub(crate) way: Way,
    /// Of answers that have rows of tables.
    pub(crate) certificate: Option<Certificate>,
}

impl Said {
    /// Of a version, of which the rows have this freshness.
    pub(crate) fn of(version: Version, freshness: Option<Freshness>, way: Way) -> Self {
        Self { version, freshness, tier: Tier::Local, way, certificate: None }
    }

    /// Of the answer to a query.
    pub(crate) fn of_stream(stream: &BatchStream, way: Way) -> Self {
        let certificate = Some(stream.certificate().clone());
        Self {
            version: stream.version(),
            freshness: stream.freshness(),
            tier: stream.tier(),
            way,
            certificate,
        }
    }

    /// As headers.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: String| {
            // All of them are ASCII.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        put(VERSION, self.version.to_string());
        put(TIER, self.tier.to_string());
        put(WAY, self.way.to_string());
        if let Some(freshness) = self.freshness {
            put(AS_OF, moment(freshness.as_of));
            put(AGE, format!("{:.3}", freshness.age().as_secs_f64()));
        }
        if let Some(certificate) = &self.certificate {
            put(EXTENT, if certificate.is_complete() { "complete" } else { "partial" }.to_owned());
            for table in certificate.tables().iter().take(CERTIFICATES_MAX) {
                if let Ok(value) = HeaderValue::try_from(certified(table)) {
                    headers.append(CERTIFICATE, value);
                }
            }
        }
        headers
    }
}

/// What shows that an answer has all rows of a table, or why it may not, as JSON in ASCII.
fn certified(table: &TableCertificate) -> String {
    let shortened = |text: &str| text.chars().take(CERTIFICATE_LEN_MAX).collect::<String>();
    let document = json!({
        "table": shortened(&table.table),
        "complete": table.is_complete,
        "coverage": table.coverage.as_deref().map(shortened),
        "reason": shortened(&table.reason),
        "as_of": table.freshness.map(|freshness| moment(freshness.as_of)),
    });
    let mut ascii = String::new();
    let mut units = [0; 2];
    for letter in document.to_string().chars() {
        if letter.is_ascii() && !letter.is_ascii_control() {
            ascii.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut units) {
            ascii.push_str(&format!("\\u{unit:04x}"));
        }
    }
    ascii
}

/// A moment by RFC 3339, in UTC with microseconds.
pub(crate) fn moment(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A version as [`Version`] shows it.
pub(crate) fn version(text: &str) -> Option<Version> {
    let (incarnation, sequence) = text.split_once('.')?;
    let is_hex = incarnation.len() == 16 && incarnation.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = sequence.bytes().all(|byte| byte.is_ascii_digit());
    if !is_hex || !is_number {
        return None;
    }
    Some(Version {
        incarnation: u64::from_str_radix(incarnation, 16).ok()?,
        sequence: sequence.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn versions_are_read_as_they_are_shown() {
        let some = Version { incarnation: 0x00ab_cdef_0123_4567, sequence: 42 };
        assert_eq!(version(&some.to_string()), Some(some));
        for wrong in ["", "42", "ab.42", "00abcdef01234567.", "00abcdef01234567.+4", "00abcdef01234567.4.2"] {
            assert_eq!(version(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn headers_say_what_is_known() {
        let version = Version { incarnation: 1, sequence: 2 };
        let headers = Said::of(version, None, Way::Embedded).headers();
        assert_eq!(headers.len(), 3);
        let as_of = SystemTime::UNIX_EPOCH + Duration::from_micros(1_357_034_400_000_001);
        let headers = Said::of(version, Some(Freshness { as_of }), Way::Embedded).headers();
        assert_eq!(headers[AS_OF], "2013-01-01T10:00:00.000001Z");
        assert_eq!(
            (&headers[VERSION], &headers[TIER], &headers[WAY]),
            (
                &HeaderValue::from_static("0000000000000001.2"),
                &HeaderValue::from_static("local"),
                &HeaderValue::from_static("embedded"),
            )
        );
        assert!(headers[AGE].to_str().unwrap().parse::<f64>().unwrap() > 0.0);
    }
}
