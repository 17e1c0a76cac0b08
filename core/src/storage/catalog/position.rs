//! How far a source was read, as whoever feeds the cache from it noted.

use std::any::Any;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde_bytes::ByteBuf;

/// The position of a source: bytes, and what they mean to those above, found out once.
#[derive(Debug)]
pub(crate) struct Position {
    bytes: Vec<u8>,
    meaning: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Position {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, meaning: OnceLock::new() }
    }

    pub(super) fn of_record((source, bytes): (&String, &ByteBuf)) -> (String, Arc<Self>) {
        (source.clone(), Arc::new(Self::new(bytes.to_vec())))
    }

    pub(super) fn to_record(&self) -> ByteBuf {
        ByteBuf::from(self.bytes.clone())
    }

    /// What the bytes mean. The first call finds it out; the others give the same. `None` if the first call was about something else.
    pub(crate) fn meaning<T: Any + Send + Sync>(&self, read: impl FnOnce(&[u8]) -> T) -> Option<Arc<T>> {
        let meaning = self.meaning.get_or_init(|| Arc::new(read(&self.bytes)));
        meaning.clone().downcast().ok()
    }
}

impl Deref for Position {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}
