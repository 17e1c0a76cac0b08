//! Entry points for fuzzing: each takes bytes as they could stand on disk and must neither panic nor read out of
//! bounds, whatever they are. Compiled only with `--cfg fuzzing`.
#![expect(unsafe_code, reason = "the fuzzed bytes are mapped the way logs are")]

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Once};

use arrow::datatypes::{DataType, Field, Schema};

use crate::storage::catalog::edit::Edit;
use crate::storage::catalog::files::Files;
use crate::storage::catalog::manifest::Manifest;
use crate::storage::catalog::state::{RecordData, State};
use crate::storage::live::Indexes;
use crate::storage::log::LogFile;
use crate::storage::mapped::region::Region;
use crate::storage::segment::{Directory, map_columns};
use crate::storage::table::Context;
use crate::storage::vfs::OsVfs;

/// The fuzzer's panic hook aborts. This one does not, so that only panics that escape the code under test count.
fn contained_panics_are_allowed() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

fn files() -> Files {
    Files::new("/nonexistent".into(), Arc::new(OsVfs))
}

/// The content of a log file: every record is read, and its edits are applied.
pub fn log_file(bytes: &[u8]) {
    let Some(region) = mapped(bytes) else { return };
    let Ok(Some(file)) = LogFile::parse(Path::new("fuzz.log"), &region, bytes.len()) else { return };
    let mut offset = file.start();
    while let Some((record, end)) = file.record_at(offset) {
        let data = RecordData { region: file.region(), offset: offset + record.data_offset() };
        apply(record.edits, Some(data));
        offset = end;
    }
    file.is_blank_from(offset);
    file.records_behind(offset);
}

/// The edits of a commit, as if their checksum had matched.
pub fn edits(bytes: &[u8]) {
    contained_panics_are_allowed();
    apply(bytes, None);
}

fn apply(edits: &[u8], data: Option<RecordData<'_>>) {
    let files = files();
    let Ok(edits) = rmp_serde::from_slice::<Vec<Edit>>(edits) else { return };
    let Ok(mut state) = State::from_record(Default::default(), &Default::default(), &files) else { return };
    let context = Context { files: &files, indexes: Indexes::Private, log: 1, sequence: 1, is_fresh: false };
    for edit in &edits {
        if state.apply(edit, data, &context).is_err() {
            return;
        }
    }
}

/// The bytes as a mapped file.
fn mapped(bytes: &[u8]) -> Option<Region> {
    let mut file = tempfile::tempfile().ok()?;
    file.write_all(bytes).ok()?;
    // SAFETY: the file holds all of `bytes`; if they are empty, one byte is mapped beyond its end and never read.
    unsafe { Region::map_beyond(&file, bytes.len().max(1)) }.ok()
}

/// The bytes as a manifest; then as the body of one, as if its checksum had matched.
pub fn manifest(bytes: &[u8]) {
    contained_panics_are_allowed();
    if let Ok(manifest) = Manifest::decode(bytes, Path::new("fuzz")) {
        drop(State::from_record(manifest.version, &manifest.catalog, &files()));
    }
    if let Ok(catalog) = rmp_serde::from_slice(bytes) {
        drop(State::from_record(Default::default(), &catalog, &files()));
    }
}

/// The directory of a segment, as if its checksum had matched: every array that it describes is mapped.
pub fn segment_directory(bytes: &[u8]) {
    let Ok(directory) = rmp_serde::from_slice::<Directory>(bytes) else { return };
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let fields = vec![
        Field::new("int", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("view", DataType::Utf8View, true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("list", DataType::List(item), true),
    ];
    let schema = Schema::new(fields);
    let Ok(mut file) = tempfile::tempfile() else { return };
    if file.write_all(&[0; 4096]).is_err() {
        return;
    }
    let Ok(region) = Region::map(&file) else { return };
    for batch in &directory.batches {
        drop(map_columns(schema.fields(), batch, &region));
    }
}
