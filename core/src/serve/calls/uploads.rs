//! Calls that send rows batch by batch.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::Request;
use crate::serve::session::{Session, find, unknown};
use crate::serve::upload::{Upload, Written};
use crate::types::clock::freshness_at;
use crate::types::error::{Error, Result};
use crate::types::panics;
use crate::wire::{Begin, Empty, Next, Write, decode, encode, rows};

impl Session {
    pub(super) fn answer_begin(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { task, body, .. } = request;
        let Begin { kind, as_of, schema } = decode(body)?;
        let now = SystemTime::now();
        let as_of = freshness_at(as_of).map_or(now, |freshness| freshness.as_of.min(now));
        let schema = rows::decode_schema(&schema)?;
        self.held.lock().reserve_upload()?;
        // If this panics, the reserved room must still be released.
        let begin = || {
            let limits = (self.uid, self.uploads.as_ref());
            Upload::begin(self.backend.clone(), limits, kind, schema, as_of)
        };
        let upload = panics::catch(begin, || Error::internal("the upload panicked"));
        let upload = upload.map(|upload| Arc::new(Mutex::new(Some(upload))));
        encode(&Next { id: self.held.lock().hold_upload(task, upload)? })
    }

    pub(super) fn answer_write(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        let Write { id, rows } = decode(body)?;
        let upload = find(&self.held.lock().uploads, id, "upload")?;
        match upload.lock().as_mut() {
            Some(upload) => upload.write(rows::decode_batch(&rows)?)?,
            None => return Err(unknown("upload", id)),
        }
        encode(&Empty {})
    }

    pub(super) fn answer_finish(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        let Next { id } = decode(body)?;
        let upload = self.held.lock().uploads.remove(&id).ok_or_else(|| unknown("upload", id))?;
        let upload = upload.lock().take().ok_or_else(|| unknown("upload", id))?;
        match upload.finish()? {
            Written::Table(info) => encode(&info),
            Written::Version(version) => encode(&version),
        }
    }

    pub(super) fn answer_abandon(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        let Next { id } = decode(body)?;
        let abandoned = self.held.lock().uploads.remove(&id);
        drop(abandoned);
        encode(&Empty {})
    }
}
