//! The commits of a log for the kernel.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use arrow::json::{Reader, ReaderBuilder};
use bytes::buf::Reader as BytesReader;
use bytes::{Buf, Bytes};
use delta_kernel::engine::arrow_utils::{
    ReorderIndex, build_json_reorder_indices, fixup_json_read, json_arrow_schema, parse_json,
};
use delta_kernel::engine_data::FilteredEngineData;
use delta_kernel::schema::SchemaRef;
use delta_kernel::{
    EngineData, FileDataReadResultIterator, FileMeta, FileSize, JsonHandler, KernelResult,
    KernelResultIterator, PredicateRef,
};
use pillion::{Error, ErrorCode};
use url::Url;

use super::TableEngine;
use crate::failures::{only_reads, to_kernel};

/// Commits that are read at a time.
const AHEAD: usize = 8;
/// Actions that are in memory at a time.
const BATCH_ROWS: usize = 1024;

pub(super) struct Json(pub(super) TableEngine);

impl JsonHandler for Json {
    fn parse_json(&self, texts: Box<dyn EngineData>, schema: SchemaRef) -> KernelResult<Box<dyn EngineData>> {
        parse_json(texts, schema)
    }

    fn read_json_files(
        &self,
        files: &[FileMeta],
        schema: SchemaRef,
        _: Option<PredicateRef>,
    ) -> KernelResult<FileDataReadResultIterator> {
        Ok(Box::new(Commits {
            engine: self.0.clone(),
            unread: files.iter().map(|file| file.location.clone()).collect(),
            read: VecDeque::new(),
            of_file: Arc::new(json_arrow_schema(&schema)?),
            order: build_json_reorder_indices(&schema)?,
            open: None,
        }))
    }

    fn write_json_file(
        &self,
        _: &Url,
        _: KernelResultIterator<'_, FilteredEngineData>,
        _: bool,
    ) -> KernelResult<FileSize> {
        Err(only_reads())
    }
}

/// The actions of commits, one file after another.
struct Commits {
    engine: TableEngine,
    unread: VecDeque<Url>,
    read: VecDeque<(Url, Bytes)>,
    of_file: ArrowSchemaRef,
    order: Vec<ReorderIndex>,
    open: Option<(Url, Reader<BytesReader<Bytes>>)>,
}

impl Commits {
    fn read(&mut self) -> KernelResult<Option<Box<dyn EngineData>>> {
        loop {
            if let Some((url, reader)) = &mut self.open {
                let Some(batch) = reader.next() else {
                    self.open = None;
                    continue;
                };
                let batch = batch.map_err(|error| damaged(&self.engine, url, &error))?;
                return Ok(Some(Box::new(fixup_json_read(batch, &self.order, url.as_str())?)));
            }
            let Some((url, bytes)) = self.next_file()? else { return Ok(None) };
            let reader = ReaderBuilder::new(self.of_file.clone())
                .with_coerce_primitive(true)
                .with_batch_size(BATCH_ROWS)
                .build(bytes.reader());
            let reader = reader.map_err(|error| damaged(&self.engine, &url, &error))?;
            self.open = Some((url, reader));
        }
    }

    fn next_file(&mut self) -> KernelResult<Option<(Url, Bytes)>> {
        if self.read.is_empty() {
            let next = self.unread.drain(..AHEAD.min(self.unread.len()));
            let next: Vec<Url> = next.collect();
            let TableEngine { files, paths } = &self.engine;
            let wanted =
                next.iter().map(|url| Ok((paths.path_of(url)?, None))).collect::<pillion::Result<_>>();
            let read = wanted.and_then(|wanted| files.read_all(wanted)).map_err(to_kernel)?;
            self.read = next.into_iter().zip(read).collect();
        }
        Ok(self.read.pop_front())
    }
}

impl Iterator for Commits {
    type Item = KernelResult<Box<dyn EngineData>>;

    fn next(&mut self) -> Option<Self::Item> {
        let actions = self.read();
        if !matches!(actions, Ok(Some(_))) {
            self.unread.clear();
            self.read.clear();
            self.open = None;
        }
        actions.transpose()
    }
}

fn damaged(engine: &TableEngine, url: &Url, error: &arrow::error::ArrowError) -> delta_kernel::KernelError {
    let name = engine.paths.path_of(url).unwrap_or_default();
    let message = format!("the commit `{}` is damaged: {error}", engine.files.name_of(&name));
    to_kernel(Error::new(ErrorCode::SourceInvalid, message))
}
