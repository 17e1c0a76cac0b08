//! `pillion config check`: finds everything that can be known before a start.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use pillion::Cache;
use pillion::source::Source;
use pillion_ipc::{BindError, Listener};
use rustix::fs::Access as May;

use super::notes::notes;
use super::{Config, Reload, TableConfig, verify};
use crate::doors;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::format::Format;
use crate::output::target::Target;
use crate::output::units;

/// An owner whose heartbeat is younger than this is alive; it renews the heartbeat every second.
const OWNER_IS_ALIVE: Duration = Duration::from_secs(10);

/// Arguments of `pillion config`.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with a configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check whether a sidecar could start with it, without starting one
    ///
    /// Reads the configuration and checks what it names: the files of tables and the columns that they declare, the
    /// directory and its content, the socket, the tokens and certificates of doors, and whether the sources are of kinds that can do what their tables need.
    /// Writes and creates nothing, and connects to nothing: `sources check` does. Does not read rows, so only the start
    /// finds errors in them.
    #[command(after_long_help = AFTER_HELP)]
    Check {
        /// The configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Write the JSON schema of a configuration, for editors that complete and check TOML
    Schema,
}

const AFTER_HELP: &str = "\
Examples:
  pillion config check --config pillion.toml

Exit codes:
  0  a sidecar could start
  1  a table does not fit its files, its source, or the table of its name that is there
  2  the configuration is wrong
  3  the configuration or a file of a table is not there
  5  the directory or the socket cannot be used";

/// Looks at a configuration.
///
/// # Errors
/// Everything that was found wrong, with the exit code of the first.
pub fn config(args: &ConfigArgs) -> Result<(), Failure> {
    let ConfigCommand::Check { config: path } = &args.command else { return super::schema::write() };
    let config = Config::read(path)?;
    let mut found = Found::default();
    found.say("configuration", path.display());
    found.look_at_directory(&config);
    found.look_at_socket(&config);
    let (sources, problems) = verify::sources(&config);
    found.problems.extend(problems);
    match doors::check(&config) {
        Ok(doors) => doors.into_iter().for_each(|(name, door)| found.say(name, door)),
        Err(failure) => found.wrong(failure.exit(), failure.message()),
    }
    for table in &config.tables {
        found.look_at_table(table, &sources);
    }
    let target = Target::stdout(Format::Table)?;
    let mut out = target.sink().clone();
    found
        .lines
        .iter()
        .try_for_each(|line| writeln!(out, "{line}"))
        .map_err(|error| target.explain(&error))?;
    target.finish()?;
    match found.problems.first() {
        None => Ok(()),
        Some((exit, _)) => {
            let messages: Vec<&str> = found.problems.iter().map(|(_, message)| message.as_str()).collect();
            Err(Failure::new(*exit, messages.join("\n")))
        }
    }
}

/// What was found.
#[derive(Default)]
struct Found {
    lines: Vec<String>,
    problems: Vec<(Exit, String)>,
}

impl Found {
    fn say(&mut self, what: &str, text: impl std::fmt::Display) {
        self.lines.push(format!("{what:13}  {text}"));
    }

    fn wrong(&mut self, exit: Exit, message: impl Into<String>) {
        self.problems.push((exit, message.into()));
    }

    fn look_at_directory(&mut self, config: &Config) {
        if let Some(Err(message)) = config.spill_dir.as_deref().map(creatable) {
            self.wrong(Exit::Report, format!("`spill_dir` cannot be used: {message}"));
        }
        let dir = &config.dir;
        let name = dir.display();
        let is_empty = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
        if !dir.exists() || is_empty {
            match creatable(dir) {
                Ok(()) => self.say("directory", format_args!("{name}, a new cache")),
                Err(message) => {
                    self.wrong(Exit::Report, format!("the directory {name} cannot be made: {message}"));
                }
            }
            return;
        }
        let cache = match Cache::open_read_only(dir) {
            Ok(cache) => cache,
            Err(error) => return self.wrong(Exit::of(&error), format!("the directory {name}: {error:#}")),
        };
        if let Err(error) = rustix::fs::access(dir, May::READ_OK | May::WRITE_OK | May::EXEC_OK) {
            self.wrong(Exit::Report, format!("the directory {name} cannot be written: {error}"));
        }
        let status = match cache.status() {
            Ok(status) => status,
            Err(error) => return self.wrong(Exit::of(&error), format!("the directory {name}: {error:#}")),
        };
        let owner = status
            .owner
            .filter(|owner| !owner.closed && owner.at.elapsed().unwrap_or_default() < OWNER_IS_ALIVE);
        let owned = if owner.is_some() { "; a process owns it now" } else { "" };
        let tables = status.tables.len();
        self.say("directory", format_args!("{name}, a cache with {tables} tables{owned}"));
        self.problems
            .extend(config.tables.iter().filter_map(|table| verify::conflict(table, &status.tables)));
    }

    fn look_at_socket(&mut self, config: &Config) {
        let socket = &config.socket;
        let name = socket.display();
        let folder = socket.parent().unwrap_or_else(|| Path::new("/"));
        if let Err(message) = creatable(folder) {
            let message = format!("the socket {name} cannot be made in its folder: {message}");
            return self.wrong(Exit::Report, message);
        }
        let state = match Listener::check(socket) {
            Ok(()) if socket.symlink_metadata().is_ok() => {
                "; nobody listens on what is there, so it is replaced"
            }
            Ok(()) => "",
            // Not wrong: the sidecar of this configuration may be running.
            Err(BindError::InUse(_)) => "; a process listens on it now",
            Err(error @ BindError::Io(..)) => return self.wrong(Exit::Report, error.to_string()),
            Err(error) => return self.wrong(Exit::Usage, error.to_string()),
        };
        self.say("socket", format_args!("{name}{state}"));
        self.say("access", who(config));
        for note in notes(config) {
            self.say("note", note);
        }
    }

    fn look_at_table(&mut self, table: &TableConfig, sources: &BTreeMap<String, Box<dyn Source>>) {
        let name = &table.name;
        if let Some(from) = &table.source {
            self.problems.extend(verify::incapable(table, sources));
            return self.say("table", format_args!("{name}: from the source {}", from.source()));
        }
        let ((count, bytes), problems) = verify::files_of(table);
        self.problems.extend(problems);
        let key = if table.rules.primary_key.is_empty() {
            "no key".to_owned()
        } else {
            format!("key {}", table.rules.primary_key.join(", "))
        };
        let reload = if table.reload == Reload::Start { ", loaded again at every start" } else { "" };
        let (bytes, plural) = (units::bytes(bytes), if count == 1 { "file" } else { "files" });
        self.say("table", format_args!("{name}: {count} {plural} of {bytes}, {key}{reload}"));
    }
}

/// Who is admitted, in words.
fn who(config: &Config) -> String {
    let access = &config.access;
    let mode = access.socket_mode.unwrap_or(pillion_ipc::SOCKET_MODE);
    let list = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let who = match (access.allow_uids.as_slice(), access.allow_gids.as_slice()) {
        ([], []) => "everyone whom it lets connect".to_owned(),
        (uids, []) => format!("limited to users {}", list(uids)),
        ([], gids) => format!("limited to members of groups {}", list(gids)),
        (uids, gids) => format!("limited to users {} and members of groups {}", list(uids), list(gids)),
    };
    let attach = if access.attach == Some(false) { "; clients are not told the directory" } else { "" };
    format!("socket mode {mode:04o}, {who}{attach}")
}

/// Whether a folder exists and is writable, or could be created.
fn creatable(dir: &Path) -> Result<(), String> {
    let there = dir.ancestors().find(|dir| dir.symlink_metadata().is_ok()).unwrap_or_else(|| Path::new("/"));
    if !there.is_dir() {
        return Err(format!("{} is not a directory", there.display()));
    }
    rustix::fs::access(there, May::WRITE_OK | May::EXEC_OK)
        .map_err(|error| format!("{} cannot be written: {error}", there.display()))
}
