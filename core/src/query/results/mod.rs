//! Answers that are kept until one of their tables changes, so that the same question is not computed twice

mod keeping;
mod question;
mod repeatable;

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use self::keeping::Keeping;
pub(super) use self::question::Question;
pub(super) use self::repeatable::reads;
use super::engine::Readable;
use super::point::Effort;
use super::stream::QuerySource;
use crate::answer::batches::{AnswerInfo, BatchSource, Batches, IteratorSource};
use crate::answer::certificate::Certificate;
use crate::storage::{State, TableState};
use crate::types::error::{Error, Result};
use crate::types::recorder::{Event, Recording};
use crate::types::version::{Freshness, Tier};

/// Parts of the memory, each with a lock of its own.
const SHARDS: usize = 4;
/// An answer has at most this share of the memory of a part.
const ANSWER_SHARE: usize = 4;
/// Copies of answers that are not complete yet have at most this share of the memory, beside the kept ones.
const COPYING_SHARE: usize = 8;
/// Bytes that an answer takes beside its rows, about.
const ANSWER_BYTES: usize = 512;
/// Bytes of an answer that the number of answers is guessed by.
const USUAL_ANSWER_BYTES: usize = 16 << 10;

/// The tables that an answer was computed from, as they were.
///
/// A commit that changes a table makes a new [`TableState`], and one that does not leaves it where it is. While there are weak
/// references to it, no other one can be at its address. So an answer is still right if all of its tables are where they were.
pub(super) type Reads = Vec<(u64, Weak<TableState>)>;

/// The kept answers of a cache.
pub(super) struct Results {
    kept: Option<Kept>,
    /// Bytes of the longest answer that is kept.
    longest: usize,
    /// Bytes of copies of answers that are not complete yet, and how many there may be.
    copying: AtomicUsize,
    copying_most: usize,
    recording: Recording,
}

type Kept = Cache<Question, Arc<Answer>, Bytes, DefaultHashBuilder, DefaultLifecycle<Question, Arc<Answer>>>;

/// An answer, copied so that it holds no files.
struct Answer {
    reads: Reads,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    freshness: Option<Freshness>,
    certificate: Certificate,
    bytes: usize,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Question, Arc<Answer>> for Bytes {
    fn weight(&self, question: &Question, answer: &Arc<Answer>) -> u64 {
        (question.len() + answer.bytes + ANSWER_BYTES) as u64
    }
}

/// What an answer that is computed now is kept under.
pub(super) struct Keeper {
    question: Question,
    reads: Reads,
}

impl fmt::Debug for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results").field("longest", &self.longest).finish_non_exhaustive()
    }
}

impl Results {
    /// Keeps answers of so many bytes; none with 0.
    ///
    /// # Errors
    /// Never, unless the settings of this module are wrong.
    pub(super) fn new(bytes: usize, recording: Recording) -> Result<Self> {
        if bytes == 0 {
            return Ok(Self {
                kept: None,
                longest: 0,
                copying: AtomicUsize::new(0),
                copying_most: 0,
                recording,
            });
        }
        let options = OptionsBuilder::new()
            .estimated_items_capacity((bytes / USUAL_ANSWER_BYTES).max(SHARDS))
            .weight_capacity(bytes as u64)
            .shards(SHARDS)
            .build()
            .map_err(|error| Error::internal("cannot keep answers").with_source(error))?;
        let kept =
            Cache::with_options(options, Bytes, DefaultHashBuilder::default(), DefaultLifecycle::default());
        let longest = usize::try_from(kept.shard_capacity()).unwrap_or(usize::MAX) / ANSWER_SHARE;
        let copying_most = bytes / COPYING_SHARE;
        Ok(Self { kept: Some(kept), longest, copying: AtomicUsize::new(0), copying_most, recording })
    }

    /// Whether answers are kept.
    pub(super) fn is_on(&self) -> bool {
        self.kept.is_some()
    }

    /// What a statement asks; `None` if no answers are kept.
    pub(super) fn question(&self, text: &str, parameters: &[crate::types::value::Value]) -> Option<Question> {
        self.is_on().then(|| Question::new(text, parameters))
    }

    /// The answer to a question at a state, if it was given before, no table has changed since, and it is no
    /// more than is to be read now.
    pub(super) fn answer(
        &self,
        state: &State,
        question: Option<&Question>,
        (readable, effort): (&Readable, Effort),
    ) -> Option<Batches> {
        let answer = self.kept.as_ref()?.get(question?)?;
        if answer.bytes > effort.bytes() {
            return None;
        }
        let is_same = answer.reads.iter().all(|(id, then)| {
            // Whether its rows may be read now is asked again: they may have become too old.
            let now = state.tables.get(id);
            now.is_some_and(|now| {
                std::ptr::eq(Arc::as_ptr(now), then.as_ptr()) && readable(state, now).is_ok_and(|here| here)
            })
        });
        if !is_same {
            return None;
        }
        self.recording.record(&Event::KeptAnswers { hits: 1, misses: 0 });
        let info = AnswerInfo {
            version: state.version,
            freshness: answer.freshness,
            tier: Tier::Local,
            certificate: answer.certificate.clone(),
        };
        let batches: Vec<RecordBatch> = answer.batches.clone();
        Some(Batches::new(answer.schema.clone(), info, Box::new(IteratorSource(batches.into_iter().map(Ok)))))
    }

    /// What the answer to a question is kept under, if it can be kept at all.
    pub(super) fn keeper(&self, question: Option<Question>, reads: Option<Reads>) -> Option<Keeper> {
        let question = question?;
        self.recording.record(&Event::KeptAnswers { hits: 0, misses: 1 });
        Some(Keeper { question, reads: reads? })
    }

    /// The batches of a running query, which are kept once the last one came.
    pub(super) fn keeping(
        self: &Arc<Self>,
        keeper: Option<Keeper>,
        (schema, info): (&SchemaRef, &AnswerInfo),
        source: QuerySource,
    ) -> Box<dyn BatchSource> {
        match keeper {
            // What a source gave is not of the versions of the tables, and what one read may lack another one may not.
            Some(keeper) if info.tier == Tier::Local && info.certificate.is_complete() => {
                Box::new(Keeping::new(self.clone(), keeper, (schema.clone(), info.clone()), source))
            }
            _ => Box::new(source),
        }
    }

    fn keep(&self, keeper: Keeper, (schema, info): (SchemaRef, AnswerInfo), batches: Vec<RecordBatch>) {
        let Some(kept) = &self.kept else { return };
        let bytes = batches.iter().map(bytes_of).sum();
        let Keeper { question, reads } = keeper;
        let AnswerInfo { freshness, certificate, .. } = info;
        kept.insert(question, Arc::new(Answer { reads, schema, batches, freshness, certificate, bytes }));
    }
}

/// Bytes that a batch takes.
fn bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.get_array_memory_size()).sum()
}
