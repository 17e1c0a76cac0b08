//! The files of tables, looked at before they are loaded.

use pillion::{InputFile, nearest};

use super::TableConfig;
use crate::exit::Exit;

/// The length of each file of a table, or what is wrong with the file.
pub(super) fn look(table: &TableConfig) -> impl Iterator<Item = Result<u64, (Exit, String)>> {
    table.input(|_| {}).look().into_iter().map(|file| {
        let file = file.map_err(|error| (Exit::of(&error), error.message().to_owned()))?;
        look_at_columns(table, &file).map_err(|message| (Exit::Failed, message))?;
        Ok(file.bytes)
    })
}

/// Checks that a file has the columns of the key and the order. Formats that do not declare their columns are not
/// checked, because only their rows have them.
fn look_at_columns(table: &TableConfig, file: &InputFile) -> Result<(), String> {
    let Some(schema) = &file.schema else { return Ok(()) };
    let known = || schema.fields().iter().map(|field| field.name().as_str());
    for column in table.rules.primary_key.iter().chain(&table.rules.sort_by) {
        if known().all(|known| known != column) {
            let hint = nearest(column, known())
                .map_or_else(String::new, |known| format!("; did you mean `{known}`?"));
            return Err(format!("`{}` has no column `{column}`{hint}", file.path.display()));
        }
    }
    Ok(())
}
