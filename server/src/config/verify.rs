//! What can be found wrong with a configuration before it is put to work, for `config check`, a start and a reload alike.

use std::collections::BTreeMap;

use pillion::source::Source;
use pillion::{TableInfo, WritePolicy};

use super::{Config, TableConfig, files};
use crate::exit::Exit;

/// A problem, with the exit code that it gives a command.
pub(crate) type Problem = (Exit, String);

/// The sources of a configuration, by name, and what is wrong with others. Connects to none of them.
pub(crate) fn sources(config: &Config) -> (BTreeMap<String, Box<dyn Source>>, Vec<Problem>) {
    let (mut sources, mut problems) = (BTreeMap::new(), Vec::new());
    for source in &config.sources {
        match crate::sources::open(source) {
            Ok(opened) => drop(sources.insert(source.name.clone(), opened)),
            Err(failure) => problems.push((failure.exit(), failure.message().to_owned())),
        }
    }
    (sources, problems)
}

/// Why a table cannot be that of its name in the cache.
pub(crate) fn conflict(table: &TableConfig, held: &[TableInfo]) -> Option<Problem> {
    let there = held.iter().find(|there| there.name == table.name)?;
    let name = &table.name;
    let other = "remove the directory, or give the table another name";
    if table.source.is_some() {
        // Its rules may change, and then it is loaded anew; its source may not.
        let source = table.source.as_ref().map_or("", |from| from.source());
        let of_source = |position: &str| position.split_once('/').is_some_and(|(fed_by, _)| fed_by == source);
        let is_fed =
            matches!(&there.rules.write_policy, WritePolicy::Source(position) if of_source(position));
        let message = format!("table `{name}` is there with rows that `{source}` does not feed; {other}");
        return (!is_fed).then_some((Exit::Failed, message));
    }
    let difference = there.rules.difference(&table.rules)?;
    Some((Exit::Failed, format!("table `{name}` is there with {difference}; {other}")))
}

/// Why the source of a table cannot feed it.
pub(crate) fn incapable(table: &TableConfig, sources: &BTreeMap<String, Box<dyn Source>>) -> Option<Problem> {
    let (from, definition) = (table.source.as_ref()?, table.fed_definition()?);
    let source = sources.get(from.source())?;
    let error = definition.check_capabilities(&table.name, &**source).err()?;
    Some((Exit::of(&error), format!("table `{}`: {}", table.name, error.message())))
}

/// How many files a table has and how many bytes these have, and what is wrong with others.
pub(crate) fn files_of(table: &TableConfig) -> ((usize, u64), Vec<Problem>) {
    let ((mut count, mut bytes), mut problems) = ((0, 0), Vec::new());
    for file in files::look(table) {
        match file {
            Ok(len) => (count, bytes) = (count + 1, bytes + len),
            Err((exit, message)) => problems.push((exit, format!("table `{}`: {message}", table.name))),
        }
    }
    ((count, bytes), problems)
}
