//! What stands on a disk after a crash.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use super::disk::{DataChange, DirNode, Disk, FileNode, Node, NodeId, ROOT};
use crate::storage::vfs::{OsVfs, Vfs};
use crate::test_random::Random;

/// Units that a disk writes whole or not at all.
const SECTORS: [usize; 2] = [512, 4096];

/// The first images, this many, have of what was not synced: nothing, all, and all but removals.
pub(super) const WHOLE_IMAGES: usize = 3;

/// Files and folders by their path below a root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Image {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Entry {
    Dir,
    File(Vec<u8>),
}

impl Image {
    /// What a crash of `disk` may leave. Number 0 has nothing that was not synced, number 1 has all of it, number 2
    /// all but removals, and every other one has what `random` says.
    pub(super) fn after_crash(disk: &Disk, number: usize, mut random: Random) -> Self {
        let likely = [20, 50, 80][random.below(3)];
        let percent = match number {
            0 => 0,
            1 | 2 => 100,
            _ => likely,
        };
        let mut builder = Builder {
            disk,
            random,
            percent,
            removes: number != 2,
            happened: HashMap::new(),
            image: Self::default(),
        };
        builder.folder(ROOT, Path::new(""));
        builder.image
    }

    /// Everything in order of paths: a folder comes before what is in it.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Path, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_path(), entry))
    }

    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (path, entry) in self.entries() {
            path.as_os_str().hash(&mut hasher);
            if let Entry::File(content) = entry {
                hasher.write(content);
            }
        }
        hasher.finish()
    }

    /// Writes it as real files below `root`, which must exist.
    pub(super) fn write(&self, root: &Path) {
        for (path, entry) in self.entries() {
            let path = root.join(path);
            match entry {
                Entry::Dir => OsVfs.create_dir_all(&path).unwrap(),
                Entry::File(content) => {
                    let file = OsVfs.create(&path).unwrap();
                    file.write_all_at(content, 0).unwrap();
                }
            }
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries().try_for_each(|(path, entry)| match entry {
            Entry::Dir => writeln!(f, "{}/", path.display()),
            Entry::File(content) => {
                let written = content.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                writeln!(f, "{} {} bytes, zero from {written}", path.display(), content.len())
            }
        })
    }
}

struct Builder<'a> {
    disk: &'a Disk,
    random: Random,
    /// How likely it is that something survived without a sync.
    percent: usize,
    /// Whether removals may survive without a sync.
    removes: bool,
    /// Whether changes of names survived, by their numbers.
    happened: HashMap<usize, bool>,
    image: Image,
}

impl Builder<'_> {
    fn folder(&mut self, id: NodeId, path: &Path) {
        let Node::Dir(dir) = self.disk.node(id) else { panic!("not a folder") };
        for (name, id) in self.names(dir) {
            let path = path.join(name);
            match self.disk.node(id) {
                Node::Dir(_) => {
                    self.image.entries.insert(path.clone(), Entry::Dir);
                    self.folder(id, &path);
                }
                Node::File(file) => {
                    let content = self.content(file);
                    self.image.entries.insert(path, Entry::File(content));
                }
                Node::Live => {
                    if let Some(remains) = self.remains() {
                        self.image.entries.insert(path, Entry::File(remains));
                    }
                }
            }
        }
    }

    fn names(&mut self, dir: &DirNode) -> BTreeMap<String, NodeId> {
        let mut names = dir.durable.clone();
        for change in &dir.unsynced {
            let (random, percent) = (&mut self.random, self.percent);
            if !self.removes && change.names.iter().all(|(_, node)| node.is_none()) {
                continue;
            }
            if *self.happened.entry(change.number).or_insert_with(|| random.percent(percent)) {
                change.apply(&mut names);
            }
        }
        names
    }

    fn content(&mut self, file: &FileNode) -> Vec<u8> {
        let mut content = file.durable.clone();
        // The length may be that after any of the changes, whatever became of their bytes.
        let lengths = match self.percent {
            0 => 0,
            100 => file.unsynced.len(),
            _ if self.random.percent(50) => file.unsynced.len(),
            _ => self.random.below(file.unsynced.len() + 1),
        };
        let grown = file.unsynced[..lengths].iter().map(DataChange::end).max().unwrap_or_default();
        let len = content.len().max(grown);
        content.resize(len, 0);
        for change in &file.unsynced {
            if let DataChange::Write { offset, bytes } = change {
                self.write(&mut content, *offset, bytes);
            }
        }
        content
    }

    /// Writes all of `bytes`, nothing, or some of their sectors.
    fn write(&mut self, content: &mut [u8], offset: usize, bytes: &[u8]) {
        let is_torn = (1..100).contains(&self.percent) && self.random.percent(40);
        let sector = if is_torn { SECTORS[self.random.below(SECTORS.len())] } else { usize::MAX };
        let mut start = offset;
        while start < offset + bytes.len() {
            let end = (offset + bytes.len()).min((start / sector + 1).saturating_mul(sector));
            if self.random.percent(self.percent) && start < content.len() {
                let end = end.min(content.len());
                content[start..end].copy_from_slice(&bytes[start - offset..end - offset]);
            }
            start = end;
        }
    }

    /// What is left of a file that is worth nothing after a crash: no file, zeros, or anything.
    fn remains(&mut self) -> Option<Vec<u8>> {
        match self.percent {
            0 => None,
            100 => Some(vec![0; 4096]),
            _ => {
                let len = [0, 100, 4096][self.random.below(3)];
                let noise = self.random.percent(50);
                let byte = |random: &mut Random| if noise { random.next().to_le_bytes()[0] } else { 0 };
                (!self.random.percent(30)).then(|| (0..len).map(|_| byte(&mut self.random)).collect())
            }
        }
    }
}
