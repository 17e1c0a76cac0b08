//! Runs workloads, cuts what they did at every operation, and looks at what crashes there leave.

use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, Op};
use super::driver::{Driver, Stop};
use super::image::Image;
use super::model::History;
use super::oracle::{self, How};
use super::planted::Planted;
use super::recorder::RecordingVfs;
use super::say;
use super::workloads::Workload;
use crate::storage::Sync;
use crate::test_random::Random;

/// Most levels of crashes, each within the recovery from the one before.
const DEPTH_MAX: usize = 3;
/// Percentage of images whose recovery crashes too.
const NESTED_PERCENT: usize = 3;
/// Operations of a recovery at which it crashes, and images of each.
const NESTED_CUTS: usize = 4;
const NESTED_IMAGES: usize = 3;
/// Percentage of images that are used until nothing from before the crash is left.
const THOROUGH_PERCENT: usize = 10;

/// Where a crash was: workload and seed, then operation and image of every level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) workload: &'static str,
    pub(super) seed: u64,
    pub(super) crashes: Vec<(usize, usize)>,
}

impl Place {
    /// Reads what [`fmt::Display`] writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let workload = Workload::named(parts.next()?).name;
        let seed = parts.next()?.parse().ok()?;
        let numbers: Vec<usize> = parts.map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let crashes = numbers.chunks(2).map(|pair| Some((*pair.first()?, *pair.get(1)?)));
        Some(Self { workload, seed, crashes: crashes.collect::<Option<_>>()? })
    }

    fn within(&self, op: usize, image: usize) -> Self {
        let mut place = self.clone();
        place.crashes.push((op, image));
        place
    }

    fn random(&self, purpose: u64) -> Random {
        let mut parts = vec![purpose, self.seed];
        parts.extend(self.crashes.iter().flat_map(|&(op, image)| [op as u64, image as u64]));
        Random::new(&parts)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.workload, self.seed)?;
        self.crashes.iter().try_for_each(|(op, image)| write!(f, ":{op}:{image}"))
    }
}

/// What should not be, and how to see it again.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) place: Place,
    pub(super) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { workload, seed, crashes } = &self.place;
        write!(f, "workload {workload}, seed {seed}")?;
        for (op, image) in crashes {
            write!(f, ", crash at operation {op}, image {image}")?;
        }
        write!(
            f,
            "\n{}\nto see it again: PILLION_CRASH={} cargo test -p pillion --no-default-features --lib -- \
             crash::tests::one_crash --nocapture",
            self.what, self.place
        )
    }
}

/// What was covered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Covered {
    pub(super) seeds: u64,
    /// Operations of the runs at which they crashed.
    pub(super) operations: usize,
    pub(super) images: usize,
    /// Of the images, those of crashes within recoveries.
    pub(super) nested: usize,
}

/// A search over one workload.
pub(super) struct Search {
    workload: &'static Workload,
    planted: Planted,
    scratch: tempfile::TempDir,
    folders: usize,
    pub(super) covered: Covered,
}

/// What a run did to a disk that held `base`.
struct Recorded<'a> {
    place: Place,
    sync: Sync,
    base: &'a Image,
    history: &'a History,
    ops: Vec<Op>,
    /// Crashes before this operation are left to another workload.
    first: usize,
}

impl Search {
    pub(super) fn new(workload: &'static Workload, planted: Planted) -> Self {
        // Syncs mean nothing here, so that the files may be in memory.
        let memory = Path::new("/dev/shm");
        let scratch = match tempfile::tempdir_in(memory) {
            Ok(scratch) => scratch,
            Err(_) => tempfile::tempdir().unwrap(),
        };
        Self { workload, planted, scratch, folders: 0, covered: Covered::default() }
    }

    /// Looks at `images` images or some more, from as many seeds as that takes.
    pub(super) fn run(&mut self, images: usize) -> Result<Covered, Violation> {
        let whole_seeds = self.workload.whole_seeds;
        for seed in 0.. {
            if seed >= whole_seeds && self.covered.images >= images {
                break;
            }
            self.covered.seeds += 1;
            let (base, history) = (Image::default(), History::new());
            let recorded = self.record(seed, &base, &history)?;
            let cuts = recorded.cuts();
            // With few images, leaves out operations all over the run, not those at the end.
            let all = usize::try_from(whole_seeds).unwrap() * cuts.len() * self.workload.images;
            let stride = (all / images.max(1)).max(1);
            let offset = usize::try_from(seed).unwrap() % stride;
            let cuts: HashSet<usize> = cuts.into_iter().skip(offset).step_by(stride).collect();
            for (cut, disk, history) in recorded.states() {
                if seed >= whole_seeds && self.covered.images >= images {
                    break;
                }
                if cuts.contains(&cut) {
                    self.covered.operations += 1;
                    self.crash(&recorded, cut, &disk, &history, self.workload.images)?;
                }
            }
        }
        Ok(self.covered)
    }

    /// Looks at the image of one place again, and prints how it came about.
    pub(super) fn replay(&mut self, place: &Place) -> Result<(), Violation> {
        let (base, history) = (Image::default(), History::new());
        let recorded = self.record(place.seed, &base, &history)?;
        self.replay_in(&recorded, &place.crashes)
    }

    fn replay_in(&mut self, recorded: &Recorded<'_>, crashes: &[(usize, usize)]) -> Result<(), Violation> {
        let Some((&(cut, number), deeper)) = crashes.split_first() else { return Ok(()) };
        let (_, disk, history) = recorded.states().find(|state| state.0 == cut).unwrap();
        let place = recorded.place.within(cut, number);
        let image = Image::after_crash(&disk, number, place.random(0));
        for (done, op) in recorded.ops[..cut].iter().enumerate() {
            say(&format!("{done:5} {op}"));
        }
        say(&format!("crash at operation {cut} left\n{image}"));
        let ops = self.check(&place, &image, &history, recorded.sync, !deeper.is_empty())?;
        let within = Recorded { place, sync: recorded.sync, base: &image, history: &history, ops, first: 0 };
        self.replay_in(&within, deeper)
    }

    fn record<'a>(
        &mut self,
        seed: u64,
        base: &'a Image,
        history: &'a History,
    ) -> Result<Recorded<'a>, Violation> {
        let place = Place { workload: self.workload.name, seed, crashes: Vec::new() };
        let root = self.folder();
        let recorder = RecordingVfs::new(&root, self.workload.disk(seed), self.planted);
        let sync = Workload::sync(seed);
        let vfs = Arc::new(recorder.clone());
        let mut driver = Driver::new(&root, vfs, Some(recorder.clone()), sync, history.clone());
        if let Err(stop) = self.workload.run(&mut driver, seed) {
            let what = match stop {
                Stop::Wrong(what) => what,
                Stop::Failed(error) => format!("{error:?}"),
            };
            return Err(Violation { place, what: format!("without a crash: {what}") });
        }
        driver.kill();
        self.remove(&root);
        // Until something fails the run is like one without faults.
        let first = recorder.before_failure().unwrap_or_default();
        Ok(Recorded { place, sync, base, history, ops: recorder.ops(), first })
    }

    /// Looks at images of a crash at one operation.
    fn crash(
        &mut self,
        recorded: &Recorded<'_>,
        cut: usize,
        disk: &Disk,
        history: &History,
        images: usize,
    ) -> Result<(), Violation> {
        let mut seen = HashSet::new();
        for number in 0..images {
            let place = recorded.place.within(cut, number);
            let image = Image::after_crash(disk, number, place.random(0));
            if !seen.insert(image.digest()) {
                continue;
            }
            self.covered.images += 1;
            self.covered.nested += usize::from(place.crashes.len() > 1);
            let mut random = place.random(1);
            let nests = place.crashes.len() < DEPTH_MAX && random.percent(NESTED_PERCENT);
            let ops = self.check(&place, &image, history, recorded.sync, nests)?;
            if nests {
                let within = Recorded { place, sync: recorded.sync, base: &image, history, ops, first: 0 };
                let all = within.cuts();
                let cuts: HashSet<usize> = (0..NESTED_CUTS).map(|_| all[random.below(all.len())]).collect();
                for (cut, disk, history) in within.states().filter(|state| cuts.contains(&state.0)) {
                    self.crash(&within, cut, &disk, &history, NESTED_IMAGES)?;
                }
            }
        }
        Ok(())
    }

    /// Opens an image and uses it. Returns the operations of that if they are to be `recorded`.
    fn check(
        &mut self,
        place: &Place,
        image: &Image,
        history: &History,
        sync: Sync,
        recorded: bool,
    ) -> Result<Vec<Op>, Violation> {
        let root = self.folder();
        image.write(&root);
        let recorder =
            recorded.then(|| RecordingVfs::new(&root, Arc::new(crate::storage::vfs::OsVfs), self.planted));
        let how =
            How { thorough: place.random(2).percent(THOROUGH_PERCENT), no_damage: !self.workload.is_full };
        let checked =
            catch_unwind(AssertUnwindSafe(|| oracle::check(&root, history, sync, recorder.as_ref(), how)));
        let result = checked.unwrap_or_else(|_| Err("it panicked".to_owned()));
        self.remove(&root);
        match result {
            Ok(()) => Ok(recorder.map_or_else(Vec::new, |recorder| recorder.ops())),
            Err(what) => Err(Violation { place: place.clone(), what }),
        }
    }

    fn folder(&mut self) -> PathBuf {
        self.folders += 1;
        let folder = self.scratch.path().join(self.folders.to_string());
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    fn remove(&self, folder: &Path) {
        assert!(folder.starts_with(self.scratch.path()));
        std::fs::remove_dir_all(folder).unwrap();
    }
}

impl Recorded<'_> {
    /// Numbers of the operations to crash before. A marker is left out: it does not change the disk.
    fn cuts(&self) -> Vec<usize> {
        let is_mark = |cut: usize| matches!(self.ops.get(cut), Some(Op::Mark(_)));
        (self.first..=self.ops.len()).filter(|&cut| !is_mark(cut)).collect()
    }

    /// Disk and model before every operation and after the last.
    fn states(&self) -> impl Iterator<Item = (usize, Disk, History)> {
        let mut disk = Disk::new(self.base);
        let mut history = self.history.clone();
        (0..=self.ops.len()).map(move |cut| {
            if let Some(op) = cut.checked_sub(1).map(|done| &self.ops[done]) {
                disk.apply(op);
                if let Op::Mark(marker) = op {
                    history.apply(marker);
                }
            }
            (cut, disk.clone(), history.clone())
        })
    }
}
