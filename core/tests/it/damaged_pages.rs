//! Every page of every file of a small cache with two tables is damaged, one at a time, and the cache is opened, read, written,
//! compacted and closed. The table that the page is not of never notices. The other one gives right rows or an error.
//!
//! Every run tries a sample of the pages; `PILLION_DAMAGED_PAGES=all` tries all of them, and a number that many.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::types::Int64Type;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use pillion::{Cache, CacheOptions, Error, ErrorCode, Result, Table, TableDefinition};

use crate::support::random::Random;
use crate::support::{files, report};

/// How many damages a run tries by default.
const SAMPLE: usize = 24;
/// Rows of a table in its first segment, which has several pages.
const ROWS: i64 = 4000;
const SEGMENT_PAGE_LEN: u64 = 64 << 10;
const PAGE_LEN: u64 = 4 << 10;

/// The value of every row by its id; its text follows from both.
type Model = BTreeMap<i64, i64>;

fn rows(model: impl IntoIterator<Item = (i64, i64)>) -> RecordBatch {
    let (ids, values): (Vec<i64>, Vec<i64>) = model.into_iter().unzip();
    let texts = StringArray::from_iter_values(ids.iter().zip(&values).map(|(id, value)| text(*id, *value)));
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from(ids))),
        ("text", Arc::new(texts)),
        ("value", Arc::new(Int64Array::from(values))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn text(id: i64, value: i64) -> String {
    format!("the row {id} has the value {value}")
}

/// A directory, and the contents of its tables `a` and `b` after each of its last commits.
struct Origin {
    dir: tempfile::TempDir,
    name: &'static str,
    commits: Vec<(Model, Model)>,
}

fn open(dir: &Path) -> Result<Cache> {
    CacheOptions::new().history(1 << 30).open(dir)
}

impl Origin {
    /// The tables have segments of two runs, deleted rows in them, tails over all of these, and history. The cache is
    /// closed, or left as by a crash.
    fn new(is_closed: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let owned = dir.path().join("owned");
        let cache = open(&owned).unwrap();
        let mut models: Vec<Model> = Vec::new();
        for name in ["a", "b"] {
            let model: Model = (0..ROWS).map(|id| (2 * id, id % 7)).collect();
            let definition = TableDefinition::new(rows(model.clone())).primary_key(["id"]);
            cache.define_table(name, definition).unwrap();
            models.push(model);
        }
        let tables = ["a", "b"].map(|name| cache.table(name).unwrap());
        let mut random = Random::of(7);
        let mut commits = Vec::new();
        for round in 0..3 {
            for number in 0..2 {
                let (table, model) = (&tables[number], &mut models[number]);
                let some: Model =
                    (0..400).map(|_| (random.below(2 * ROWS as u64) as i64, 100 + round)).collect();
                table.upsert(rows(some.clone())).unwrap();
                model.extend(some);
                commits.push((models[0].clone(), models[1].clone()));
                let gone: Vec<i64> = (0..40).map(|_| random.below(2 * ROWS as u64) as i64).collect();
                table.delete_many(&gone).unwrap();
                models[number].retain(|id, _| !gone.contains(id));
                commits.push((models[0].clone(), models[1].clone()));
            }
            if round < 2 {
                cache.compact().unwrap();
                // Rows in segments are not lost with the log.
                commits = vec![(models[0].clone(), models[1].clone())];
            }
        }
        for step in 0..12 {
            let number = step % 2;
            let (table, model) = (&tables[number], &mut models[number]);
            // Writes a row of a segment, one of the tail and a new one, and deletes one.
            let some: Model =
                [(2 * step as i64 + 40, 200), (2 * step as i64 + 38, 201), (-1 - step as i64, 202)].into();
            table.upsert(rows(some.clone())).unwrap();
            model.extend(some);
            commits.push((models[0].clone(), models[1].clone()));
            let gone = 4 * step as i64 + 1000;
            tables[number].delete(gone).unwrap();
            models[number].remove(&gone);
            commits.push((models[0].clone(), models[1].clone()));
        }
        let name = if is_closed { "closed" } else { "crashed" };
        if is_closed {
            cache.close().unwrap();
        }
        files::copy(&owned, &dir.path().join("origin"));
        Self { dir, name, commits }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("origin")
    }

    fn now(&self) -> &(Model, Model) {
        self.commits.last().unwrap()
    }

    /// Every damage that can be tried.
    fn damages(&self) -> Vec<Damage> {
        let mut damages = Vec::new();
        for path in files::below(&self.path()) {
            let file = path.strip_prefix(self.path()).unwrap().to_owned();
            let len = fs::metadata(&path).unwrap().len();
            let is_segment = file.starts_with("tables");
            let page_len = if is_segment { SEGMENT_PAGE_LEN } else { PAGE_LEN };
            let bytes = fs::read(&path).unwrap();
            // After its records, a log has zeros that nobody reads: one page of them is enough.
            let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1);
            let end = len.min((used / page_len + 2) * page_len);
            for page in 0..end.div_ceil(page_len) {
                let (start, end) = (page * page_len, len.min((page + 1) * page_len));
                for kind in [Kind::Bit, Kind::Page] {
                    damages.push(Damage { file: file.clone(), start, end, kind });
                }
            }
            if is_segment {
                damages.push(Damage { file: file.clone(), start: 0, end: len, kind: Kind::Lost });
                damages.push(Damage { file: file.clone(), start: len / 2, end: len, kind: Kind::Cut });
            }
        }
        damages
    }

    /// The folder that the files of a table are in.
    fn folder(&self, table: &str) -> PathBuf {
        let mut folders: Vec<u64> = fs::read_dir(self.path().join("tables"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
            .collect();
        folders.sort_unstable();
        Path::new("tables").join(folders[usize::from(table == "b")].to_string())
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// One bit of the page is flipped.
    Bit,
    /// The whole page is overwritten.
    Page,
    /// The file is missing.
    Lost,
    /// The file ends where the page begins.
    Cut,
}

/// A damage to a file.
#[derive(Clone, Debug)]
struct Damage {
    file: PathBuf,
    start: u64,
    end: u64,
    kind: Kind,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of bytes {} to {} of {}", self.kind, self.start, self.end, self.file.display())
    }
}

impl Damage {
    fn inflict(&self, dir: &Path, random: &mut Random) {
        let path = dir.join(&self.file);
        let mut bytes = fs::read(&path).unwrap();
        match self.kind {
            Kind::Lost => return fs::remove_file(&path).unwrap(),
            Kind::Cut => bytes.truncate(self.start as usize),
            Kind::Bit if self.start == self.end => {}
            Kind::Bit => {
                bytes[(self.start + random.below(self.end - self.start)) as usize] ^= 1 << random.below(8);
            }
            Kind::Page => bytes[self.start as usize..self.end as usize].fill_with(|| random.below(256) as u8),
        }
        files::write(&path, &bytes);
    }
}

/// A cache under test, and its expected contents.
struct Trial<'a> {
    dir: PathBuf,
    /// The table whose files are damaged; `None` if the files belong to no table.
    damaged: Option<&'a str>,
    models: [Model; 2],
    /// Whether the damage is to what a dead owner shared with readers. That is memory, which has no checksums:
    /// readers trust it until the next owner makes it anew.
    is_memory_damaged: bool,
    /// Reads and writes that failed.
    failed: usize,
}

const TABLES: [&str; 2] = ["a", "b"];

impl Trial<'_> {
    /// Counts an error of the damaged table; any other is a failure.
    fn fails(&mut self, table: &str, what: &str, error: &Error) {
        assert_eq!(Some(table), self.damaged, "{what} of `{table}`, whose files are whole: {error:#}");
        let code = error.code();
        assert!([ErrorCode::Corrupt, ErrorCode::Io].contains(&code), "{what} of `{table}`: {error:#}");
        let text = format!("{error:#}");
        assert!(
            text.contains("tables/") && text.contains(".arrow"),
            "{what}: `{text}` does not name the file"
        );
        self.failed += 1;
    }

    /// Reads both tables in every way.
    fn read(&mut self, cache: &Cache, when: &str) {
        for (number, name) in TABLES.into_iter().enumerate() {
            let model = self.models[number].clone();
            let table = cache.table(name).unwrap();
            assert_eq!(table.info().unwrap().rows, model.len() as u64, "{when}: rows of `{name}`");
            for result in reads(&table, &model, when) {
                if let Err(error) = result {
                    self.fails(name, when, &error);
                }
            }
        }
    }

    /// Changes both tables, each by itself and both together.
    fn write(&mut self, cache: &Cache, stamp: i64) {
        let changes = |number: i64| {
            let ids = [stamp * 100 + number, 2 * (stamp + 7 * number), 3000 + 2 * stamp];
            ids.into_iter().map(|id| (id, stamp)).collect::<Model>()
        };
        for (number, name) in TABLES.into_iter().enumerate() {
            let table = cache.table(name).unwrap();
            match table.upsert(rows(changes(1))) {
                Ok(_) => self.models[number].extend(changes(1)),
                Err(error) => self.fails(name, "an upsert", &error),
            }
            let gone = 5000 + 2 * stamp;
            match table.delete(gone) {
                Ok(_) => drop(self.models[number].remove(&gone)),
                Err(error) => self.fails(name, "a delete", &error),
            }
            // Between existing keys, and after all of them.
            for new in [101 + 2 * stamp, 1_000_000 + stamp] {
                if self.models[number].contains_key(&new) {
                    continue;
                }
                match table.append(rows([(new, stamp)])) {
                    Ok(_) => drop(self.models[number].insert(new, stamp)),
                    Err(error) => self.fails(name, "an append", &error),
                }
            }
        }
        let mut transaction = cache.transaction();
        for name in TABLES {
            transaction = transaction.upsert(&cache.table(name).unwrap(), rows(changes(2)));
        }
        match transaction.commit() {
            Ok(_) => self.models.iter_mut().for_each(|model| model.extend(changes(2))),
            Err(error) => self.fails(self.damaged.unwrap_or("both"), "a commit", &error),
        }
    }

    fn compact(&mut self, cache: &Cache) {
        if let Err(error) = cache.compact() {
            self.fails(self.damaged.unwrap_or("both"), "compact", &error);
        }
    }

    /// Reads the directory as a reader without an owner.
    fn read_alone(&mut self, when: &str) {
        let reader = Cache::open_read_only(&self.dir)
            .unwrap_or_else(|error| panic!("{when}: not opened read-only: {error:#}"));
        self.read(&reader, when);
    }

    fn open(&self, when: &str) -> Cache {
        open(&self.dir).unwrap_or_else(|error| panic!("{when}: not opened: {error:#}"))
    }

    /// Runs all steps.
    fn run(&mut self, random: &mut Random) {
        let damaged = self.damaged;
        if !self.is_memory_damaged {
            self.read_alone("a reader alone");
        }
        let cache = self.open("the first owner");
        self.read(&cache, "the first owner");
        // A reader beside the owner follows it.
        let reader = Cache::open_read_only(&self.dir).unwrap();
        self.read(&reader, "a reader beside the owner");
        self.write(&cache, 11);
        self.read(&cache, "written");
        self.read(&reader, "written, beside the owner");
        // A crash would leave the directory like this copy, which is opened twice.
        let crashed = tempfile::tempdir().unwrap();
        files::copy(&self.dir, crashed.path());
        let models = self.models.clone();
        self.compact(&cache);
        self.write(&cache, 12);
        self.compact(&cache);
        self.read(&cache, "compacted");
        self.read(&reader, "compacted, beside the owner");
        self.write(&cache, 13);
        cache.close().unwrap();
        drop((cache, reader));
        self.read_alone("closed");
        let cache = self.open("the second owner");
        self.read(&cache, "the second owner");
        self.write(&cache, 14);
        self.replace(&cache, random.below(2) == 0);
        cache.close().unwrap();
        drop(cache);
        self.read_alone("replaced and closed");
        let dir = crashed.path().to_owned();
        let mut after = Trial { dir, damaged, models, is_memory_damaged: false, failed: 0 };
        after.run_crashed();
        self.failed += after.failed;
    }

    /// Opens a directory as a crash left it, twice.
    fn run_crashed(&mut self) {
        for (when, stamp) in [("after a crash", 21), ("after a crash, again", 22)] {
            let cache = self.open(when);
            self.read(&cache, when);
            self.write(&cache, stamp);
            self.compact(&cache);
            self.read(&cache, when);
        }
    }

    /// Replaces or drops the damaged table, or one of the others; from then on it is as good as any other.
    fn replace(&mut self, cache: &Cache, drops: bool) {
        let name = self.damaged.take().unwrap_or("a");
        let model = &mut self.models[usize::from(name == "b")];
        *model = (0..500).map(|id| (3 * id, id)).collect();
        if drops {
            cache.drop_table(name).unwrap();
            let definition = TableDefinition::new(rows(model.clone())).primary_key(["id"]);
            cache.define_table(name, definition).unwrap();
        } else {
            cache.table(name).unwrap().replace(rows(model.clone())).unwrap();
        }
        self.read(cache, "replaced");
        self.write(cache, 15);
        for round in 16..19 {
            self.compact(cache);
            self.write(cache, round);
        }
        self.read(cache, "replaced and compacted");
        for name in TABLES {
            assert_eq!(cache.table(name).unwrap().info().unwrap().damage, None);
        }
    }
}

/// The rows of a table, if they can be read.
fn model_of(table: &Table) -> Result<Model> {
    let mut model = Model::new();
    for batch in table.scan()? {
        check_batch(&batch?, |id, value| {
            assert_eq!(model.insert(id, value), None, "the key {id} comes twice");
        });
    }
    Ok(model)
}

/// Visits every row of a batch; its text must be right.
fn check_batch(batch: &RecordBatch, mut visit: impl FnMut(i64, i64)) {
    let ids = batch.column(0).as_primitive::<Int64Type>().values();
    let values = batch.column(2).as_primitive::<Int64Type>().values();
    for ((id, value), found) in ids.iter().zip(values).zip(batch.column(1).as_string::<i32>()) {
        assert_eq!(found, Some(text(*id, *value).as_str()), "a row that was never written");
        visit(*id, *value);
    }
}

/// Reads a table by key, as a whole, and by single columns: every row that is found must be in the model, and no row
/// may be missing.
fn reads(table: &Table, model: &Model, when: &str) -> Vec<Result<()>> {
    let mut results = Vec::new();
    let ids: Vec<i64> =
        (-14..2 * ROWS + 20).step_by(61).chain(2990..3060).chain(1_000_000..1_000_020).collect();
    let right = |id: i64, row: Option<&pillion::Row>| -> Result<()> {
        let value = row
            .map(|row| Ok::<_, Error>((row.get::<i64>("value")?, row.get::<&str>("text")?.to_owned())))
            .transpose()?;
        let expected = model.get(&id).map(|value| (*value, text(id, *value)));
        assert_eq!(value, expected, "{when}: the row of key {id}");
        Ok(())
    };
    for &id in &ids {
        results.push(table.get(id).and_then(|row| right(id, row.as_ref())));
    }
    results.push(
        table
            .get_many(&ids)
            .and_then(|rows| ids.iter().zip(&rows).try_for_each(|(&id, row)| right(id, row.as_ref()))),
    );
    results.push(table.scan().and_then(|scan| {
        let mut found = Model::new();
        for batch in scan {
            check_batch(&batch?, |id, value| {
                assert_eq!(model.get(&id), Some(&value), "{when}: a row of key {id} in a scan");
                assert_eq!(found.insert(id, value), None, "{when}: the key {id} comes twice");
            });
        }
        assert_eq!(&found, model, "{when}");
        Ok(())
    }));
    for (name, number) in [("value", 2), ("id", 0)] {
        results.push(table.scan_columns([name]).and_then(|scan| scan.concat()).map(|rows| {
            let mut found = rows.column(0).as_primitive::<Int64Type>().values().to_vec();
            let mut expected: Vec<i64> =
                model.iter().map(|(&id, &value)| if number == 0 { id } else { value }).collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{when}: the column `{name}`");
        }));
    }
    results
}

/// Damages one page; returns how many calls failed because of it.
fn try_damage(origin: &Origin, damage: &Damage, seed: u64) -> usize {
    let mut random = Random::of(seed);
    let dir = tempfile::tempdir().unwrap();
    files::copy(&origin.path(), dir.path());
    damage.inflict(dir.path(), &mut random);
    let damaged = TABLES.into_iter().find(|table| damage.file.starts_with(origin.folder(table)));
    let (a, b) = origin.now().clone();
    let is_memory_damaged = origin.name == "crashed" && damage.file.starts_with("live");
    let dir_path = dir.path().to_owned();
    let mut trial = Trial { dir: dir_path, damaged, models: [a, b], is_memory_damaged, failed: 0 };
    if damage.file.starts_with("log") {
        let bytes = fs::read(origin.path().join(&damage.file)).unwrap();
        let used = bytes.iter().rposition(|&byte| byte != 0).unwrap() as u64;
        trial.models = recovered(origin, dir.path(), damage.end > used);
    }
    trial.run(&mut random);
    trial.failed
}

/// The contents after a log was damaged, which must be those after one of the commits. If commits are missing, the
/// cache must report it, unless the damage reaches the end of the log: that looks like a record that was being
/// written when its owner died.
fn recovered(origin: &Origin, dir: &Path, is_end: bool) -> [Model; 2] {
    let reader = Cache::open_read_only(dir).unwrap();
    let [a, b] = TABLES.map(|name| model_of(&reader.table(name).unwrap()).unwrap());
    let found = origin.commits.iter().rposition(|commit| *commit == (a.clone(), b.clone()));
    let last = origin.commits.len() - 1;
    let found = found.expect("the tables are those of no commit");
    let told = reader.status().unwrap().damage;
    assert!(
        found == last || is_end || told.is_some(),
        "{} commits are missing and nobody says so",
        last - found
    );
    [a, b]
}

#[test]
fn a_damaged_page_is_the_matter_of_its_table_only() {
    let origins = [Origin::new(true), Origin::new(false)];
    for origin in &origins {
        let mut whole = Trial {
            dir: origin.dir.path().join("whole"),
            damaged: None,
            models: [origin.now().0.clone(), origin.now().1.clone()],
            is_memory_damaged: false,
            failed: 0,
        };
        files::copy(&origin.path(), &whole.dir);
        whole.run(&mut Random::of(1));
    }
    let mut all: Vec<(&Origin, Damage)> = origins
        .iter()
        .flat_map(|origin| origin.damages().into_iter().map(move |damage| (origin, damage)))
        .collect();
    let pages = all.len();
    let wanted = match std::env::var("PILLION_DAMAGED_PAGES").as_deref() {
        Ok("all") => pages,
        Ok(number) => number.parse().unwrap(),
        Err(_) => SAMPLE,
    };
    let mut random = if wanted == pages { Random::new(1) } else { Random::fresh() };
    let mut faults = Vec::new();
    let (mut tried, mut noticed, mut failed) = (0, 0, 0);
    while tried < wanted && !all.is_empty() {
        // Every other damage is to a segment, as these have few pages.
        let next = match wanted == pages {
            true => 0,
            false => loop {
                let next = random.below(all.len() as u64) as usize;
                if tried % 2 == 1 || all[next].1.file.starts_with("tables") {
                    break next;
                }
                let is_left = all.iter().any(|(_, damage)| damage.file.starts_with("tables"));
                if !is_left {
                    break next;
                }
            },
        };
        let (origin, damage) = all.remove(next);
        let seed = random.next();
        tried += 1;
        match catch_unwind(AssertUnwindSafe(|| try_damage(origin, &damage, seed))) {
            Ok(calls) => {
                noticed += usize::from(calls > 0);
                failed += calls;
            }
            Err(panic) => {
                let why = panic.downcast_ref::<String>().cloned();
                let why = why
                    .or_else(|| panic.downcast_ref::<&str>().map(|&why| why.to_owned()))
                    .unwrap_or_default();
                faults.push(format!("{}: {damage}, seed {seed}: {why}", origin.name));
            }
        }
    }
    report::add(format_args!(
        "damaged pages: {tried} of {pages} tried, {noticed} noticed by {failed} calls, each of the damaged table"
    ));
    assert!(faults.is_empty(), "{} of {tried} damages:\n{}", faults.len(), faults.join("\n"));
    assert!(wanted < SAMPLE || noticed > 0, "nothing was noticed");
}
