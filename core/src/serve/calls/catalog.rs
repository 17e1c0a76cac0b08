//! Calls about tables, and the cache as a whole.

use super::Request;
use crate::serve::session::Session;
use crate::types::error::Result;
use crate::way::table_info::TableInfo;
use crate::wire::{
    InfoMessage, Name, Pin, PositionReply, Source, StatusReply, Table, VersionMessage, decode, encode,
};

impl Session {
    pub(super) fn answer_version(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        let Pin { snapshot } = decode(body)?;
        encode(&VersionMessage { version: self.reader(snapshot)?.version()?.into() })
    }

    pub(super) fn answer_tables(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        let Pin { snapshot } = decode(body)?;
        encode(&infos(self.reader(snapshot)?.tables()?)?)
    }

    pub(super) fn answer_table_by_name(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        let Name { snapshot, name } = decode(body)?;
        encode(&InfoMessage::new(self.reader(snapshot)?.table(&name)?)?)
    }

    pub(super) fn answer_table_by_id(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        let Table { snapshot, table } = decode(body)?;
        encode(&InfoMessage::new(self.reader(snapshot)?.table_by_id(table)?)?)
    }

    pub(super) fn answer_status(&self, _: Request<'_>) -> Result<Vec<u8>> {
        let status = self.backend.status()?;
        encode(&StatusReply {
            dir: if self.attach { status.dir.display().to_string() } else { String::new() },
            version: status.version.into(),
            tables: infos(status.tables)?,
            damage: status.damage,
            poisoned: status.poisoned,
        })
    }

    pub(super) fn answer_source_position(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        let Source { source } = decode(body)?;
        let position = self.backend.source_position(&source)?;
        encode(&PositionReply { position: position.map(serde_bytes::ByteBuf::from) })
    }
}

fn infos(tables: Vec<TableInfo>) -> Result<Vec<InfoMessage>> {
    tables.into_iter().map(InfoMessage::new).collect()
}
