//! Calls that write, and those that move what was written.

use super::Request;
use crate::serve::commit;
use crate::serve::session::Session;
use crate::types::error::Result;
use crate::wire::encoding::values;
use crate::wire::{Empty, Modify, ModifyReply, Name, VersionMessage, decode, encode};

impl Session {
    pub(super) fn answer_commit(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        encode(&commit::commit(&*self.backend, decode(body)?)?)
    }

    pub(super) fn answer_modify(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { task, body, .. } = request;
        let Modify { text, parameters } = decode(body)?;
        let parameters = values(parameters)?;
        let executed = self.cancellable(task).run(|| self.backend.execute(&text, &parameters, None))?;
        encode(&ModifyReply { rows: executed.rows, version: executed.version.into() })
    }

    pub(super) fn answer_drop_table(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        let Name { name, .. } = decode(body)?;
        encode(&VersionMessage { version: self.backend.drop_table(&name)?.into() })
    }

    pub(super) fn answer_compact(&self, _: Request<'_>) -> Result<Vec<u8>> {
        self.backend.compact()?;
        encode(&Empty {})
    }

    pub(super) fn answer_sync(&self, _: Request<'_>) -> Result<Vec<u8>> {
        self.backend.sync()?;
        encode(&Empty {})
    }
}
