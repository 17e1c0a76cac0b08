//! What every answer says of itself, the same at every door.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderMap, HeaderValue};
use pillion::{BatchStream, Batches, Certificate, Freshness, TableCertificate, Tier, Version, Way};
use serde_json::{Value, json};

/// The version of the cache that was read or written.
pub const VERSION: &str = "pillion-version";
/// The moment as of which the answer is complete.
pub const AS_OF: &str = "pillion-as-of";
/// Seconds since then.
pub const AGE: &str = "pillion-age";
/// Which tier answered.
pub const TIER: &str = "pillion-tier";
/// How the door reaches the cache.
pub const WAY: &str = "pillion-way";
/// Whether the answer has all rows that the sources of its tables would have given: `complete` or `partial`.
pub const EXTENT: &str = "pillion-extent";
/// What shows that, for one table that holds only some rows of its source. Once for each of them.
pub const CERTIFICATE: &str = "pillion-certificate";

/// The most tables that headers tell of, and the longest text of one: clients bound what they take.
const CERTIFICATES_MAX: usize = 16;
const CERTIFICATE_LEN_MAX: usize = 1000;

/// What an answer says of itself.
#[derive(Clone, Debug)]
pub struct Said {
    /// The version of the cache that was read or written.
    pub version: Version,
    /// How fresh its rows are, if that is known.
    pub freshness: Option<Freshness>,
    /// Which tier answered.
    pub tier: Tier,
    /// How the door reaches the cache.
    pub way: Way,
    /// Of answers that have rows of tables.
    pub certificate: Option<Certificate>,
}

impl Said {
    /// Of a version, of which the rows have this freshness.
    pub fn of(version: Version, freshness: Option<Freshness>, way: Way) -> Self {
        Self { version, freshness, tier: Tier::Local, way, certificate: None }
    }

    /// Of the answer to a query.
    pub fn of_stream(stream: &BatchStream, way: Way) -> Self {
        let certificate = Some(stream.certificate().clone());
        Self {
            version: stream.version(),
            freshness: stream.freshness(),
            tier: stream.tier(),
            way,
            certificate,
        }
    }

    /// Of the answer to a query that has not begun to be read.
    pub fn of_batches(batches: &Batches, way: Way) -> Self {
        let certificate = Some(batches.certificate().clone());
        Self {
            version: batches.version(),
            freshness: batches.freshness(),
            tier: batches.tier(),
            way,
            certificate,
        }
    }

    /// As headers, with what shows the extent of the answer.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = self.brief_headers();
        for table in self.certified() {
            if let Ok(value) = HeaderValue::try_from(ascii(&certified(table))) {
                headers.append(CERTIFICATE, value);
            }
        }
        headers
    }

    /// As a JSON document, whose members are called as the headers without `pillion-`.
    pub fn document(&self) -> Value {
        let mut document = json!({
            "version": self.version.to_string(),
            "tier": self.tier.to_string(),
            "way": self.way.to_string(),
        });
        let Some(members) = document.as_object_mut() else { return document };
        if let Some(freshness) = self.freshness {
            members.insert("as_of".to_owned(), moment(freshness.as_of).into());
            members.insert("age".to_owned(), freshness.age().as_secs_f64().into());
        }
        if let Some(certificate) = &self.certificate {
            members.insert("extent".to_owned(), extent(certificate).into());
            let tables: Vec<Value> = self.certified().map(certified).collect();
            if !tables.is_empty() {
                members.insert("certificates".to_owned(), tables.into());
            }
        }
        document
    }

    /// The tables that an answer tells of: the first of those that hold only some rows.
    fn certified(&self) -> impl Iterator<Item = &TableCertificate> {
        self.certificate.iter().flat_map(|certificate| certificate.tables().iter().take(CERTIFICATES_MAX))
    }

    /// As headers that are short whatever the statement was.
    pub fn brief_headers(&self) -> HeaderMap {
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
            put(EXTENT, extent(certificate).to_owned());
        }
        headers
    }
}

/// Whether an answer may lack rows.
fn extent(certificate: &Certificate) -> &'static str {
    if certificate.is_complete() { "complete" } else { "partial" }
}

/// What shows that an answer has all rows of a table, or why it may not.
fn certified(table: &TableCertificate) -> Value {
    let shortened = |text: &str| text.chars().take(CERTIFICATE_LEN_MAX).collect::<String>();
    json!({
        "table": shortened(&table.table),
        "complete": table.is_complete,
        "coverage": table.coverage.as_deref().map(shortened),
        "reason": shortened(&table.reason),
        "as_of": table.freshness.map(|freshness| moment(freshness.as_of)),
    })
}

/// A JSON document in ASCII, as headers hold it.
fn ascii(document: &Value) -> String {
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
pub fn moment(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A version as [`Version`] shows it.
pub fn version(text: &str) -> Option<Version> {
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
        let said = Said::of(version, None, Way::Embedded).document();
        assert_eq!(said, json!({"version": "0000000000000001.2", "tier": "local", "way": "embedded"}));
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
