//! Refreshes that a sidecar makes, asked for by a client.

use std::sync::Arc;
use std::time::Duration;

use super::Remote;
use super::connection::Repeat;
use crate::source::Source;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::version::Version;
use crate::way::definition::TableDefinition;
use crate::way::refreshing::{AuditReport, RefreshStatus, Refreshing};
use crate::wire::{
    AuditReply, Call, Empty, Name, RefreshesReply, Steer, SteerAction, SteerReply, VersionMessage, WaitFor,
};

impl Remote {
    fn steer(&self, table: &str, action: SteerAction) -> Result<bool> {
        self.connection.check_open()?;
        let request = Steer { table: table.to_owned(), action };
        let reply: SteerReply = self.connection.call(Call::SteerRefreshes, &request, Repeat::Once)?;
        Ok(reply.was_given_up)
    }
}

impl Refreshing for Remote {
    fn add_source(&self, _: &str, _: Arc<dyn Source>, _: bool) -> Result<()> {
        Err(not_from_here())
    }

    fn follow(&self, _: &str, _: TableDefinition) -> Result<()> {
        Err(not_from_here())
    }

    fn unfollow(&self, _: &str) -> Result<bool> {
        Err(not_from_here())
    }

    fn refresh(&self, table: &str) -> Result<Version> {
        self.connection.check_open()?;
        let request = Name { snapshot: None, name: table.to_owned() };
        let reply: VersionMessage = self.connection.call(Call::Refresh, &request, Repeat::Once)?;
        Ok(self.connection.saw(reply.version))
    }

    fn cancel(&self, table: &str) -> Result<bool> {
        self.steer(table, SteerAction::Cancel)
    }

    fn pause(&self, table: &str, is_paused: bool) -> Result<()> {
        self.steer(table, if is_paused { SteerAction::Pause } else { SteerAction::Resume }).map(drop)
    }

    fn wait_for(&self, table: &str, position: &[u8], limit: Duration) -> Result<Version> {
        self.connection.check_open()?;
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let request = WaitFor { table: table.to_owned(), position: position.to_vec(), limit };
        let reply: VersionMessage = self.connection.call(Call::WaitFor, &request, Repeat::Once)?;
        Ok(self.connection.saw(reply.version))
    }

    fn audit(&self, table: &str) -> Result<AuditReport> {
        self.connection.check_open()?;
        let request = Name { snapshot: None, name: table.to_owned() };
        let reply: AuditReply = self.connection.call(Call::Audit, &request, Repeat::Once)?;
        Ok(reply.into())
    }

    fn refreshes(&self) -> Result<Vec<RefreshStatus>> {
        let reply: RefreshesReply = self.connection.call(Call::Refreshes, &Empty {}, Repeat::Once)?;
        Ok(reply.refreshes.into_iter().map(Into::into).collect())
    }
}

fn not_from_here() -> Error {
    Error::new(
        ErrorCode::Unsupported,
        "a client cannot add sources or tables that are fed by them: say it in the configuration of the sidecar",
    )
}
