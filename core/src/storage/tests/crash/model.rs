//! What a cache must hold: its exact contents after every commit, and what of them a crash may not take.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::storage::State;
use crate::types::version::Version;

/// Everything that a commit leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// Tables by name.
    pub(super) tables: BTreeMap<String, TableContent>,
    /// How far sources were read, as numbers of commits.
    pub(super) positions: BTreeMap<String, u64>,
}

impl Content {
    fn used(&self) -> u64 {
        let tables = self.tables.values().map(TableContent::used);
        tables.chain(self.positions.values().copied()).max().unwrap_or_default()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TableContent {
    /// Number of the commit that last changed it: it makes contents of different commits differ.
    pub(super) as_of: u64,
    /// Notes by key.
    pub(super) rows: BTreeMap<i64, String>,
}

impl TableContent {
    fn used(&self) -> u64 {
        self.rows.keys().next_back().map_or(self.as_of, |&key| self.as_of.max(key.cast_unsigned()))
    }
}

/// What a run notes between its operations.
#[derive(Clone, Debug)]
pub(super) enum Marker {
    /// A commit that gives this content is asked for.
    Begun(Arc<Content>),
    /// The last commit begun is done.
    Acknowledged(Version),
    /// The last commit begun is certainly not there.
    Refused,
    /// Everything acknowledged is durable.
    Durable,
    /// The cache was opened and holds the commit of this number, and none behind it.
    Recovered(usize),
}

/// The commits so far. Number 0 is the empty cache.
#[derive(Clone, Debug)]
pub(super) struct History {
    commits: Vec<Commit>,
    /// Versions that were acknowledged and that a crash took.
    lost: Vec<Version>,
    /// Number of the last commit that no crash may take.
    durable: usize,
    /// The largest time or key that any commit brought, whatever became of it.
    used: u64,
}

#[derive(Clone, Debug)]
struct Commit {
    content: Arc<Content>,
    acknowledged: Option<Version>,
}

impl History {
    pub(super) fn new() -> Self {
        let empty = Commit { content: Arc::default(), acknowledged: None };
        Self { commits: vec![empty], lost: Vec::new(), durable: 0, used: 0 }
    }

    pub(super) fn apply(&mut self, marker: &Marker) {
        match marker {
            Marker::Begun(content) => {
                self.used = self.used.max(content.used());
                self.commits.push(Commit { content: content.clone(), acknowledged: None });
            }
            Marker::Acknowledged(version) => {
                self.commits.last_mut().unwrap().acknowledged = Some(*version);
            }
            Marker::Refused => drop(self.commits.pop()),
            Marker::Durable => self.durable = self.commits.len() - 1,
            Marker::Recovered(number) => {
                let lost = self.commits.drain(number + 1..).filter_map(|commit| commit.acknowledged);
                self.lost.extend(lost);
                self.durable = *number;
            }
        }
    }

    /// What must be there if the process ended and the machine did not: everything acknowledged.
    pub(super) fn as_after_kill(&self) -> Self {
        let acknowledged = self.commits.iter().rposition(|commit| commit.acknowledged.is_some());
        Self { durable: self.durable.max(acknowledged.unwrap_or_default()), ..self.clone() }
    }

    /// What is there if nothing is lost.
    pub(super) fn newest(&self) -> &Arc<Content> {
        &self.commits.last().unwrap().content
    }

    /// The version of the newest commit, if that was acknowledged.
    pub(super) fn newest_version(&self) -> Option<Version> {
        self.commits.last().unwrap().acknowledged
    }

    /// Larger times and keys are new.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Which commit a recovered cache holds.
    ///
    /// # Errors
    /// Why it does not hold a commit that it may hold.
    pub(super) fn recovered(&self, content: &Content, state: &State) -> Result<usize, String> {
        let mut wrong = None;
        for number in (0..self.commits.len()).rev() {
            if *self.commits[number].content != *content {
                continue;
            }
            if number < self.durable {
                let durable = self.durable;
                wrong =
                    wrong.or_else(|| Some(format!("commit {number} came back, and {durable} was durable")));
            } else {
                match self.versions_tell(number, state) {
                    Ok(()) => return Ok(number),
                    Err(what) => wrong = wrong.or(Some(what)),
                }
            }
        }
        Err(wrong.unwrap_or_else(|| {
            let expected: Vec<_> =
                self.commits[self.durable..].iter().map(|commit| &commit.content).collect();
            format!("no commit left this behind: {content:?}\nallowed were {expected:?}")
        }))
    }

    /// Checks that a state says correctly, for every version that readers saw, whether that is still there.
    fn versions_tell(&self, number: usize, state: &State) -> Result<(), String> {
        let commits = self.commits.iter().enumerate();
        let acknowledged =
            commits.filter_map(|(other, commit)| Some((commit.acknowledged?, Some(other <= number))));
        let lost = self.lost.iter().map(|&version| (version, Some(false)));
        for (version, expected) in acknowledged.chain(lost) {
            let told = state.includes(version);
            if told != expected {
                return Err(format!(
                    "commit {number} came back, and whether {version:?} is in it is told as {told:?}"
                ));
            }
        }
        Ok(())
    }
}
