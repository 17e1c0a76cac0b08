//! Compressed files of texts.

#[cfg(feature = "csv")]
use std::io::Read;

use crate::types::error::{Error, ErrorCode, Result};

/// Endings of compressed files that are not read.
const UNREAD: [(&str, &str); 9] = [
    ("bz2", "bzip2"),
    ("xz", "xz"),
    ("lz4", "LZ4"),
    ("br", "Brotli"),
    ("sz", "Snappy"),
    ("snappy", "Snappy"),
    ("z", "compress"),
    ("zip", "ZIP"),
    ("7z", "7-Zip"),
];

/// The first bytes of every gzip file.
#[cfg(all(feature = "csv", feature = "gzip"))]
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The bytes of a file, from its start to its end.
#[cfg(feature = "csv")]
pub(super) type Bytes = Box<dyn Read + Send>;

/// How a file is compressed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    #[cfg(feature = "gzip")]
    Gzip,
    #[cfg(feature = "zstd")]
    Zstd,
}

impl Codec {
    /// The codec that the ending of a name in lower case tells, and the name without it.
    ///
    /// # Errors
    /// [`ErrorCode::Unsupported`] for one that this build does not have.
    pub(super) fn of<'a>(path: &str, name: &'a str) -> Result<(&'a str, Self)> {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let lacks = |codec: &str, what: &str| {
            let message = format!("`{path}` is compressed by {codec}, which {what}");
            Err(Error::new(ErrorCode::Unsupported, message))
        };
        match ending {
            #[cfg(feature = "gzip")]
            "gz" | "gzip" => Ok((without(name, ending), Self::Gzip)),
            #[cfg(feature = "zstd")]
            "zst" | "zstd" => Ok((without(name, ending), Self::Zstd)),
            #[cfg(not(feature = "gzip"))]
            "gz" | "gzip" => {
                lacks("gzip", "this build lacks: build the crate `pillion` with its feature `gzip`")
            }
            #[cfg(not(feature = "zstd"))]
            "zst" | "zstd" => {
                lacks("Zstandard", "this build lacks: build the crate `pillion` with its feature `zstd`")
            }
            _ => match UNREAD.iter().find(|(known, _)| *known == ending) {
                Some((_, codec)) => lacks(codec, "is not read: decompress it, or use gzip or Zstandard"),
                None => Ok((name, Self::None)),
            },
        }
    }

    /// The bytes of a file before it was compressed.
    ///
    /// # Errors
    /// Those of the decompressor.
    #[cfg(feature = "csv")]
    pub(super) fn reader(self, bytes: Bytes) -> std::io::Result<Bytes> {
        match self {
            Self::None => Ok(bytes),
            #[cfg(feature = "gzip")]
            Self::Gzip => {
                Ok(Box::new(flate2::read::MultiGzDecoder::new(Gzip { bytes, is_looked_at: false })))
            }
            #[cfg(feature = "zstd")]
            Self::Zstd => Ok(Box::new(zstd::stream::read::Decoder::new(bytes)?)),
        }
    }
}

/// The bytes of a file that is gzip by its name. Fails at the first read if they are something else, of which the decompressor
/// says that it ends too early.
#[cfg(all(feature = "csv", feature = "gzip"))]
struct Gzip {
    bytes: Bytes,
    is_looked_at: bool,
}

#[cfg(all(feature = "csv", feature = "gzip"))]
impl Read for Gzip {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if !self.is_looked_at {
            let mut first = Vec::new();
            self.bytes.by_ref().take(MAGIC.len() as u64).read_to_end(&mut first)?;
            if first != MAGIC {
                let why = "it is not compressed by gzip, as the ending of its name says: correct the name";
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why));
            }
            let rest = std::mem::replace(&mut self.bytes, Box::new(std::io::empty()));
            self.bytes = Box::new(std::io::Cursor::new(first).chain(rest));
            self.is_looked_at = true;
        }
        self.bytes.read(into)
    }
}

/// A name without the ending behind its last point.
#[cfg(any(feature = "gzip", feature = "zstd"))]
fn without<'a>(name: &'a str, ending: &str) -> &'a str {
    name.strip_suffix(ending).map_or(name, |rest| rest.trim_end_matches('.'))
}
