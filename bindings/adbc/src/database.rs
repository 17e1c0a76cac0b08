//! The driver, and a database: a cache by its URI.

use adbc_core::error::{Result, Status};
use adbc_core::options::{OptionConnection, OptionDatabase, OptionValue};
use adbc_core::{Database, Driver, Optionable};
use pillion::Cache;

use crate::connection::PillionConnection;
use crate::errors::{answered, refusal, told};
use crate::options::{switch, text, unknown, unset};

/// Whether a directory is opened for reading only, whoever owns it.
const READ_ONLY: &str = "pillion.read_only";

/// The driver. It has no state.
#[derive(Default)]
pub(crate) struct PillionDriver;

impl Driver for PillionDriver {
    type DatabaseType = PillionDatabase;

    fn new_database(&mut self) -> Result<PillionDatabase> {
        self.new_database_with_opts([])
    }

    /// Opens the cache, or connects to it. An embedded cache is closed when its last connection, statement and answer is released.
    fn new_database_with_opts(
        &mut self,
        options: impl IntoIterator<Item = (OptionDatabase, OptionValue)>,
    ) -> Result<PillionDatabase> {
        answered(|| {
            let (mut uri, mut read_only) = (None, false);
            for (key, value) in options {
                let name = key.as_ref().to_owned();
                match key {
                    OptionDatabase::Uri => uri = Some(text(&name, value)?),
                    OptionDatabase::Username | OptionDatabase::Password => {
                        let message = format!(
                            "there is no option `{name}`: the user of this process is who reads the directory or the socket"
                        );
                        return Err(refusal(Status::NotImplemented, message));
                    }
                    _ if name == READ_ONLY => read_only = switch(&name, &value)?,
                    _ => return Err(unknown(&name)),
                }
            }
            let uri = uri.ok_or_else(|| {
                let message =
                    "set the option `uri` to `unix:SOCKET`, `file:DIRECTORY` or the path of a directory";
                refusal(Status::InvalidArguments, message)
            })?;
            let open = if read_only { Cache::from_url_to_read } else { Cache::from_url };
            let cache = open(uri.strip_prefix("pillion:").unwrap_or(&uri)).map_err(|error| told(&error))?;
            Ok(PillionDatabase { cache, uri, read_only })
        })
    }
}

/// A cache that was opened or connected to, which the connections share.
pub(crate) struct PillionDatabase {
    cache: Cache,
    uri: String,
    read_only: bool,
}

impl Optionable for PillionDatabase {
    type Option = OptionDatabase;

    fn set_option(&mut self, key: OptionDatabase, _: OptionValue) -> Result<()> {
        let message = format!("set `{}` before the database is opened", key.as_ref());
        Err(refusal(Status::InvalidState, message))
    }

    fn get_option_string(&self, key: OptionDatabase) -> Result<String> {
        match key {
            OptionDatabase::Uri => Ok(self.uri.clone()),
            OptionDatabase::Other(name) if name == READ_ONLY => Ok(self.read_only.to_string()),
            OptionDatabase::Other(name) if name == "pillion.way" => Ok(self.cache.way().to_string()),
            _ => Err(unset(key.as_ref())),
        }
    }

    fn get_option_bytes(&self, key: OptionDatabase) -> Result<Vec<u8>> {
        Err(unset(key.as_ref()))
    }

    fn get_option_int(&self, key: OptionDatabase) -> Result<i64> {
        Err(unset(key.as_ref()))
    }

    fn get_option_double(&self, key: OptionDatabase) -> Result<f64> {
        Err(unset(key.as_ref()))
    }
}

impl Database for PillionDatabase {
    type ConnectionType = PillionConnection;

    fn new_connection(&self) -> Result<PillionConnection> {
        self.new_connection_with_opts([])
    }

    fn new_connection_with_opts(
        &self,
        options: impl IntoIterator<Item = (OptionConnection, OptionValue)>,
    ) -> Result<PillionConnection> {
        answered(|| {
            let mut connection = PillionConnection::new(self.cache.clone());
            options.into_iter().try_for_each(|(key, value)| connection.set_option(key, value))?;
            Ok(connection)
        })
    }
}
