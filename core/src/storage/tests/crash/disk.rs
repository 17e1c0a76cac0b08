//! A disk that keeps apart what was synced and what only was written.
//!
//! A search feeds it the operations of a run. After any of them it shows what a crash may leave, by the rules of
//! POSIX: the content of a file is safe after a sync of the file, its name after a sync of its folder, and nothing
//! else is.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::image::{Entry, Image};
use super::model::Marker;

/// What was done to the files below a root. Paths are relative to it; a handle names a file whatever its name is.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Create {
        handle: usize,
        path: PathBuf,
    },
    Open {
        handle: usize,
        path: PathBuf,
    },
    Write {
        handle: usize,
        offset: usize,
        bytes: Arc<[u8]>,
    },
    Allocate {
        handle: usize,
        len: usize,
    },
    Sync {
        handle: usize,
    },
    /// A write or sync failed: what was written since the last sync is never safe again, whatever later syncs say.
    Fail {
        handle: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    CreateDir {
        path: PathBuf,
    },
    RemoveDir {
        path: PathBuf,
    },
    SyncDir {
        path: PathBuf,
    },
    /// A file that is written through a map. Nothing is known of it after a crash.
    Live {
        path: PathBuf,
    },
    /// Nothing was done to a file.
    Mark(Marker),
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { handle, offset, bytes } => {
                write!(f, "write {} bytes at {offset} of file {handle}", bytes.len())
            }
            Self::Mark(Marker::Begun(_)) => f.write_str("begun"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// A file or folder: index into the nodes of a disk.
pub(super) type NodeId = usize;

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirNode),
    Live,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    pub(super) durable: Vec<u8>,
    /// Since the last sync, in order.
    pub(super) unsynced: Vec<DataChange>,
    /// How many of them were there when a write or sync failed.
    doubtful: usize,
}

#[derive(Clone, Debug)]
pub(super) enum DataChange {
    Write { offset: usize, bytes: Arc<[u8]> },
    Allocate { len: usize },
}

#[derive(Clone, Debug, Default)]
pub(super) struct DirNode {
    pub(super) durable: BTreeMap<String, NodeId>,
    /// Since the last sync, in order.
    pub(super) unsynced: Vec<NameChange>,
    current: BTreeMap<String, NodeId>,
}

/// Names that change together.
#[derive(Clone, Debug)]
pub(super) struct NameChange {
    /// The same in two folders if a rename concerns both.
    pub(super) number: usize,
    pub(super) names: Vec<(String, Option<NodeId>)>,
}

#[derive(Clone, Debug)]
pub(super) struct Disk {
    nodes: Vec<Node>,
    handles: HashMap<usize, NodeId>,
    changes: usize,
}

/// The root folder.
pub(super) const ROOT: NodeId = 0;

impl Disk {
    /// A disk on which everything of an image is safe.
    pub(super) fn new(image: &Image) -> Self {
        let root = Node::Dir(DirNode::default());
        let mut disk = Self { nodes: vec![root], handles: HashMap::new(), changes: 0 };
        for (path, entry) in image.entries() {
            let node = match entry {
                Entry::Dir => Node::Dir(DirNode::default()),
                Entry::File(content) => {
                    Node::File(FileNode { durable: content.clone(), ..FileNode::default() })
                }
            };
            disk.link(path, node);
        }
        for node in &mut disk.nodes {
            if let Node::Dir(dir) = node {
                dir.sync();
            }
        }
        disk
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { handle, path } => {
                let node = self.link(path, Node::File(FileNode::default()));
                self.handles.insert(*handle, node);
            }
            Op::Open { handle, path } => {
                let node = self.find(path);
                self.handles.insert(*handle, node);
            }
            Op::Write { handle, offset, bytes } => {
                let change = DataChange::Write { offset: *offset, bytes: bytes.clone() };
                self.file(*handle).unsynced.push(change);
            }
            Op::Allocate { handle, len } => {
                self.file(*handle).unsynced.push(DataChange::Allocate { len: *len });
            }
            Op::Sync { handle } => self.file(*handle).sync(),
            Op::Fail { handle } => {
                let file = self.file(*handle);
                file.doubtful = file.unsynced.len();
            }
            Op::Rename { from, to } => {
                let node = self.find(from);
                self.changes += 1;
                if from.parent() == to.parent() {
                    self.change(from, vec![(name(from), None), (name(to), Some(node))]);
                } else {
                    self.change(from, vec![(name(from), None)]);
                    self.change(to, vec![(name(to), Some(node))]);
                }
            }
            Op::Remove { path } | Op::RemoveDir { path } => {
                self.changes += 1;
                self.change(path, vec![(name(path), None)]);
            }
            Op::CreateDir { path } => drop(self.link(path, Node::Dir(DirNode::default()))),
            Op::SyncDir { path } => {
                let dir = self.find(path);
                self.dir(dir).sync();
            }
            Op::Live { path } => drop(self.link(path, Node::Live)),
            Op::Mark(_) => {}
        }
    }

    fn link(&mut self, path: &Path, node: Node) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(node);
        self.changes += 1;
        self.change(path, vec![(name(path), Some(id))]);
        id
    }

    fn change(&mut self, path: &Path, names: Vec<(String, Option<NodeId>)>) {
        let number = self.changes;
        let dir = self.find(path.parent().unwrap());
        let dir = self.dir(dir);
        let change = NameChange { number, names };
        change.apply(&mut dir.current);
        dir.unsynced.push(change);
    }

    fn find(&self, path: &Path) -> NodeId {
        path.iter().fold(ROOT, |dir, name| match &self.nodes[dir] {
            Node::Dir(dir) => dir.current[name.to_str().unwrap()],
            _ => panic!("{} leads through a file", path.display()),
        })
    }

    fn dir(&mut self, id: NodeId) -> &mut DirNode {
        match &mut self.nodes[id] {
            Node::Dir(dir) => dir,
            _ => panic!("not a folder"),
        }
    }

    fn file(&mut self, handle: usize) -> &mut FileNode {
        match &mut self.nodes[self.handles[&handle]] {
            Node::File(file) => file,
            _ => panic!("not a file"),
        }
    }
}

impl FileNode {
    fn sync(&mut self) {
        for change in self.unsynced.drain(self.doubtful..) {
            let len = self.durable.len().max(change.end());
            self.durable.resize(len, 0);
            if let DataChange::Write { offset, bytes } = change {
                self.durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
            }
        }
    }
}

impl DirNode {
    fn sync(&mut self) {
        self.durable.clone_from(&self.current);
        self.unsynced.clear();
    }
}

impl DataChange {
    /// The least length of the file afterwards.
    pub(super) fn end(&self) -> usize {
        match self {
            Self::Write { offset, bytes } => offset + bytes.len(),
            Self::Allocate { len } => *len,
        }
    }
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, NodeId>) {
        for (name, node) in &self.names {
            match node {
                Some(node) => names.insert(name.clone(), *node),
                None => names.remove(name),
            };
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().and_then(OsStr::to_str).unwrap().to_owned()
}
