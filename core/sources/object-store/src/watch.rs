//! Notices when files on disk change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use pillion::source::{Changed, Watch};
use pillion::{Error, ErrorCode, Result};

/// How often the folder itself is looked at: it may be made anew, or be a link that leads somewhere else now.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Whether the system tells when a file that was written is closed.
const TELLS_CLOSED: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Watches a folder, with all below it if `is_deep`, until the answer is dropped. The folder need not be there yet.
///
/// # Errors
/// [`ErrorCode::Io`] if the system does not watch it, for example because too many folders are watched.
pub(crate) fn watch(folder: PathBuf, is_deep: bool, changed: Changed) -> Result<Watch> {
    let mut folder = Folder { path: folder, is_deep, changed, is_old: Arc::default(), watched: None };
    folder.look()?;
    let (stop, stopped) = channel::<()>();
    let thread = std::thread::Builder::new().name("pillion-watch".to_owned()).spawn(move || {
        while stopped.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            // What cannot be watched any more is tried again, and noticed by whoever looks at the files now and then.
            if folder.look().unwrap_or(false) {
                (folder.changed)();
            }
        }
    });
    match thread {
        Ok(_) => Ok(Watch::new(stop)),
        Err(error) => Err(Error::new(ErrorCode::Io, "cannot start a thread").with_source(error)),
    }
}

struct Folder {
    path: PathBuf,
    is_deep: bool,
    changed: Changed,
    /// A link was set, or something happened to the folder itself: what is there now may not be watched.
    is_old: Arc<AtomicBool>,
    watched: Option<(Place, RecommendedWatcher)>,
}

/// Which folder it is, whatever leads to it.
#[derive(PartialEq)]
struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// The number of a folder that was removed may be that of the next one.
    created: Option<SystemTime>,
}

impl Place {
    fn of(path: &Path) -> Option<Self> {
        let (path, found) = (path.canonicalize().ok()?, path.metadata().ok()?);
        Some(Self { path, device: found.dev(), inode: found.ino(), created: found.created().ok() })
    }
}

impl Folder {
    /// Watches the folder that is there now. Returns whether it is another one, or was watched anew.
    fn look(&mut self) -> Result<bool> {
        let (place, is_old) = (Place::of(&self.path), self.is_old.swap(false, Ordering::AcqRel));
        if !is_old && place.as_ref() == self.watched.as_ref().map(|(place, _)| place) {
            return Ok(false);
        }
        self.watched = None;
        let Some(place) = place else { return Ok(true) };
        let (changed, is_old, root) = (self.changed.clone(), self.is_old.clone(), place.path.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // After an error, such as too many events at once, nobody knows what changed.
            let Ok(event) = event else { return changed() };
            if is_change(&event) {
                // A link leads somewhere else now, or the folder itself is another one.
                if event.paths.iter().any(|path| *path == root || path.is_symlink()) {
                    is_old.store(true, Ordering::Release);
                }
                changed();
            }
        });
        let mode = if self.is_deep { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        let watched = watcher.and_then(|mut watcher| watcher.watch(&place.path, mode).map(|()| watcher));
        let watcher = watched.map_err(|error| {
            let message = format!("changes of the folder `{}` are not told", self.path.display());
            Error::new(ErrorCode::Io, message).with_source(error)
        })?;
        self.watched = Some((place, watcher));
        Ok(true)
    }
}

/// Whether files may have other bytes after an event. To read a file is none, and where the system tells that a file was closed,
/// neither is what a program writes until then: half of a file is not to be read.
fn is_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Data(_)) => !TELLS_CLOSED,
        EventKind::Create(CreateKind::File) => !TELLS_CLOSED || event.paths.iter().any(|path| is_link(path)),
        _ => true,
    }
}

/// Whether a file that appeared has its bytes already: nobody opens a link to make it, so nobody closes it.
fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_symlink() || found.nlink() > 1)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::sync::atomic::AtomicU32;
    use std::time::Instant;

    use super::*;

    /// A watched folder, and how often a change was told.
    fn told(folder: &Path) -> (Arc<AtomicU32>, Watch) {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let changed: Changed = Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        (count, watch(folder.to_owned(), true, changed).unwrap())
    }

    #[track_caller]
    fn wait_for_more(count: &AtomicU32, than: u32) -> u32 {
        let patience = Instant::now() + Duration::from_secs(60);
        while count.load(Ordering::SeqCst) <= than {
            assert!(Instant::now() < patience, "nothing was told");
            std::thread::yield_now();
        }
        count.load(Ordering::SeqCst)
    }

    #[test]
    fn what_happens_to_files_is_told_and_reading_them_is_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("year=2013")).unwrap();
        let (count, watch) = told(dir.path());
        let file = dir.path().join("year=2013/a.csv");
        write(&file, "x");
        let seen = wait_for_more(&count, 0);
        fs::create_dir(dir.path().join("year=2014")).unwrap();
        let seen = wait_for_more(&count, seen);
        fs::rename(&file, dir.path().join("year=2014/a.csv")).unwrap();
        let seen = wait_for_more(&count, seen);
        fs::remove_file(dir.path().join("year=2014/a.csv")).unwrap();
        wait_for_more(&count, seen);
        drop(watch);
        assert!(!is_change(&Event::new(EventKind::Access(AccessKind::Read))));
    }

    /// Python writes so: a part of the bytes when its buffer is full, the rest when the file is closed.
    #[cfg(target_os = "linux")]
    #[test]
    fn files_are_told_when_they_are_complete() {
        let (dir, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| dir.path().join(name);
        write(&aside.path().join("whole.csv"), "4,hello");
        let (sender, events) = channel();
        let mut watcher = notify::recommended_watcher(sender).unwrap();
        watcher.watch(dir.path(), RecursiveMode::NonRecursive).unwrap();
        let mut file = fs::File::create(path("a.csv")).unwrap();
        file.write_all(b"3,hel").unwrap();
        fs::create_dir(path("half")).unwrap();
        file.write_all(b"lo world\n").unwrap();
        drop(file);
        fs::create_dir(path("whole")).unwrap();
        fs::hard_link(aside.path().join("whole.csv"), path("hard.csv")).unwrap();
        std::os::unix::fs::symlink(aside.path().join("whole.csv"), path("soft.csv")).unwrap();
        fs::rename(aside.path().join("whole.csv"), path("renamed.csv")).unwrap();
        fs::create_dir(path("end")).unwrap();
        let mut told = Vec::new();
        while told.last() != Some(&path("end")) {
            let event = events.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
            told.extend(event.paths.iter().filter(|_| is_change(&event)).cloned());
        }
        let expected = ["half", "a.csv", "whole", "hard.csv", "soft.csv", "renamed.csv", "end"];
        assert_eq!(told, expected.map(path));
    }

    #[test]
    fn links_that_lead_somewhere_else_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        // As Kubernetes mounts files: links to links, of which one is set anew.
        for version in ["one", "two"] {
            fs::create_dir(path(version)).unwrap();
            write(&path(version).join("a.csv"), version);
        }
        std::os::unix::fs::symlink("one", path("data")).unwrap();
        let (count, _watch) = told(&path("data"));
        std::os::unix::fs::symlink("two", path("new")).unwrap();
        fs::rename(path("new"), path("data")).unwrap();
        let seen = wait_for_more(&count, 0);
        write(&path("two/a.csv"), "three");
        wait_for_more(&count, seen);
    }

    #[test]
    fn a_folder_may_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("later");
        let (count, _watch) = told(&folder);
        fs::create_dir(&folder).unwrap();
        let seen = wait_for_more(&count, 0);
        write(&folder.join("a.csv"), "1");
        let seen = wait_for_more(&count, seen);
        fs::remove_dir_all(&folder).unwrap();
        let seen = wait_for_more(&count, seen);
        fs::create_dir(&folder).unwrap();
        wait_for_more(&count, seen);
    }

    fn write(path: &Path, text: &str) {
        fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }
}
