//! Calls about refreshes of tables from sources.

use std::time::Duration;

use super::Request;
use crate::serve::session::Session;
use crate::types::error::Result;
use crate::way::refreshing::refreshing;
use crate::wire::{
    AuditReply, Empty, Name, RefreshesReply, Steer, SteerAction, SteerReply, VersionMessage, WaitFor, decode,
    encode,
};

impl Session {
    pub(super) fn answer_refresh(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Name { name, .. } = decode(request.body)?;
        let version = refreshing(&*self.backend)?.refresh(&name)?.into();
        encode(&VersionMessage { version })
    }

    pub(super) fn answer_audit(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Name { name, .. } = decode(request.body)?;
        encode(&AuditReply::from(refreshing(&*self.backend)?.audit(&name)?))
    }

    pub(super) fn answer_wait_for(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let WaitFor { table, position, limit } = decode(request.body)?;
        let limit = Duration::from_millis(limit);
        let version = refreshing(&*self.backend)?.wait_for(&table, &position, limit)?.into();
        encode(&VersionMessage { version })
    }

    pub(super) fn answer_refreshes(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Empty {} = decode(request.body)?;
        let refreshes = refreshing(&*self.backend)?.refreshes()?;
        encode(&RefreshesReply { refreshes: refreshes.into_iter().map(Into::into).collect() })
    }

    pub(super) fn answer_steer_refreshes(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Steer { table, action } = decode(request.body)?;
        let refreshing = refreshing(&*self.backend)?;
        let was_given_up = match action {
            SteerAction::Cancel => refreshing.cancel(&table)?,
            SteerAction::Pause => refreshing.pause(&table, true).map(|()| false)?,
            SteerAction::Resume => refreshing.pause(&table, false).map(|()| false)?,
        };
        encode(&SteerReply { was_given_up })
    }
}
