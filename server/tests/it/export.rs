//! An exported file holds the whole table, and appears only when it is complete.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use arrow::ipc::reader::{FileReader, StreamReader};
use pillion::{Input, TableDefinition};

use crate::support::{Dir, Outcome, assert_same_rows, items, many, not_run, rows};

#[test]
fn parquet_is_read_back_by_the_cache() {
    let dir = Dir::with_many();
    for table in ["items", "many"] {
        let file = format!("{table}.parquet");
        assert_eq!(dir.answer(&["export", table, "--output", &file]), "");
        let definition = TableDefinition::parquet(dir.path(&file).to_str().unwrap());
        let cache = dir.open();
        cache.define_table("again", definition).unwrap();
        assert_same_rows(&rows(&cache, "again"), &rows(&cache, table));
        cache.drop_table("again").unwrap();
    }
}

#[test]
fn arrow_files_and_streams_are_read_back_by_arrow() {
    let dir = Dir::with_many();
    for name in ["many.arrow", "many.feather", "many.arrows", "many.any"] {
        dir.answer(&[
            "export",
            "many",
            "--output",
            name,
            "--format",
            if name.ends_with('y') { "arrow" } else { "csv" },
        ]);
    }
    for name in ["many.arrow", "many.feather", "many.arrows"] {
        dir.answer(&["export", "many", "--output", name, "--force"]);
    }
    let open = |name| File::open(dir.path(name)).unwrap();
    let file = |name| FileReader::try_new(open(name), None).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    let stream =
        |name| StreamReader::try_new(open(name), None).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    let answers: [Vec<RecordBatch>; 4] =
        [file("many.arrow"), file("many.feather"), stream("many.arrows"), stream("many.any")];
    for batches in answers {
        assert_same_rows(&concat_batches(&batches[0].schema(), &batches).unwrap(), &many());
    }
}

#[test]
fn csv_is_read_back_with_the_types_of_the_table() {
    let dir = Dir::new();
    dir.answer(&["export", "items", "--output", "items.csv"]);
    let csv = Input::csv_with_schema(dir.path("items.csv").to_str().unwrap(), items().schema());
    let cache = dir.open();
    cache.define_table("again", TableDefinition::new(csv)).unwrap();
    assert_same_rows(&rows(&cache, "again"), &items());
}

/// Texts that could be mistaken in CSV: for null, for the end of a value or of a line, for a byte order mark.
#[test]
fn texts_and_nulls_in_csv_are_read_back_as_they_were() {
    let texts = [
        None,
        Some(""),
        Some(" "),
        Some(" both sides "),
        Some("\""),
        Some("\"\""),
        Some(","),
        Some("\n"),
        Some("\r"),
        Some("\r\n"),
        Some("a\n\nb"),
        Some("\u{feff}mark"),
        Some("NULL"),
        Some("\\N"),
        Some("007"),
        Some("\0"),
        Some("Größe 漢字"),
        None,
    ];
    let column: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter(texts.map(|text| text.map(str::as_bytes))));
    let one = RecordBatch::try_from_iter([("\u{feff}only", column.clone())]).unwrap();
    let two = RecordBatch::try_from_iter([("", column.clone()), ("a,b", column), ("bytes", bytes)]).unwrap();
    for batch in [one, two] {
        let dir = Dir::empty();
        let cache = dir.open();
        cache.define_table("t", TableDefinition::new(batch.clone())).unwrap();
        cache.define_table("again", TableDefinition::new(batch.slice(0, 0))).unwrap();
        cache.close().unwrap();
        dir.answer(&["export", "t", "--output", "t.csv"]);
        assert_eq!(dir.run(&["load", "again", "t.csv", "--append"]).code, 0);
        let cache = dir.open();
        assert_same_rows(&sorted(&rows(&cache, "again")), &sorted(&batch));
        // Type inference reads all of these as text too.
        let inferred = Input::csv(dir.path("t.csv").to_str().unwrap());
        cache.define_table("inferred", TableDefinition::new(inferred)).unwrap();
        assert_eq!(sorted(&rows(&cache, "inferred")).column(0), sorted(&batch).column(0));
    }
}

/// Until 1893 clocks in Berlin were 53 minutes and 28 seconds ahead of those in Greenwich, but an offset is written in
/// minutes.
#[test]
fn moments_of_every_time_are_read_back_from_csv() {
    let dir = Dir::empty();
    let seconds = [-60_000_000_000, -2_422_054_409, -2_422_054_408, 0, 1_593_597_600];
    let moments: ArrayRef = Arc::new(
        TimestampMillisecondArray::from_iter_values(seconds.map(|s| s * 1000 + 5))
            .with_timezone("Europe/Berlin"),
    );
    let batch = RecordBatch::try_from_iter([("at", moments)]).unwrap();
    let cache = dir.open();
    cache.define_table("t", TableDefinition::new(batch.clone()).sort_by(["at"])).unwrap();
    cache.define_table("again", TableDefinition::new(batch.slice(0, 0)).sort_by(["at"])).unwrap();
    cache.close().unwrap();
    dir.answer(&["export", "t", "--output", "t.csv"]);
    let written = fs::read_to_string(dir.path("t.csv")).unwrap();
    assert!(written.ends_with("1970-01-01T01:00:00.005+01:00\n2020-07-01T12:00:00.005+02:00\n"), "{written}");
    assert_eq!(dir.run(&["load", "again", "t.csv", "--append"]).code, 0);
    assert_same_rows(&rows(&dir.open(), "again"), &batch);
}

/// By the first column; rows of these tables with the same text in it are equal.
fn sorted(batch: &RecordBatch) -> RecordBatch {
    let order = sort_to_indices(batch.column(0), None, None).unwrap();
    take_record_batch(batch, &order).unwrap()
}

#[test]
fn json_has_an_object_per_row() {
    let dir = Dir::new();
    dir.answer(&["export", "items", "--output", "items.ndjson"]);
    assert_eq!(
        fs::read_to_string(dir.path("items.ndjson")).unwrap(),
        dir.answer(&["sql", "--format", "json", "SELECT * FROM items ORDER BY id"])
    );
}

#[test]
fn it_works_beside_the_owner() {
    let dir = Dir::new();
    let owner = dir.open();
    owner.table("items").unwrap().replace(items().slice(1, 1)).unwrap();
    dir.answer(&["export", "items", "--output", "items.csv"]);
    assert_eq!(fs::read_to_string(dir.path("items.csv")).unwrap().lines().count(), 2);
}

#[test]
fn a_file_is_replaced_only_when_told() {
    let dir = Dir::new();
    let file = dir.write("items.csv", "precious");
    let export = |more: &[&str]| dir.run(&[&["export", "items", "--output", "items.csv"], more].concat());
    export(&[]).fails(2, &["`items.csv` exists", "--force"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert_eq!(export(&["--force"]).code, 0);
    assert!(fs::read_to_string(&file).unwrap().starts_with("id,name,price,sold\n"));
    assert_eq!(dir.files(), ["items.csv"]);
}

#[test]
fn an_unfinished_file_is_taken_over_unless_somebody_writes_it() {
    let dir = Dir::new();
    dir.write("items.csv.tmp", "left by a command that was killed".repeat(1000));
    assert_eq!(dir.run(&["export", "items", "--output", "items.csv"]).code, 0);
    let whole = fs::read_to_string(dir.path("items.csv")).unwrap();
    assert!(whole.ends_with(":00.002\n"), "{whole}");

    let path = dir.write("items.csv.tmp", "being written");
    let writer = File::open(&path).unwrap();
    writer.lock().unwrap();
    dir.run(&["export", "items", "--output", "items.csv", "--force"])
        .fails(4, &["another command is writing"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "being written");
    assert_eq!(fs::read_to_string(dir.path("items.csv")).unwrap(), whole);
}

#[test]
fn what_is_no_ordinary_file_is_written_to_as_it_is() {
    let dir = Dir::new();
    let real = dir.write("real.csv", "old");
    std::os::unix::fs::symlink(&real, dir.path("link.csv")).unwrap();
    dir.run(&["export", "items", "--output", "link.csv"]).fails(2, &["exists"]);
    assert_eq!(dir.run(&["export", "items", "--output", "link.csv", "--force"]).code, 0);
    assert!(fs::symlink_metadata(dir.path("link.csv")).unwrap().is_symlink());
    assert!(fs::read_to_string(real).unwrap().starts_with("id,"));
    let answer = dir.answer(&["export", "items", "--output", "/dev/stdout", "--format", "csv"]);
    assert_eq!(answer, dir.answer(&["sql", "--format", "csv", "SELECT * FROM items ORDER BY id"]));
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let dir = Dir::with_many();
    let Some(disk) = SmallDisk::mount(dir.path("disk")) else { return };
    fs::create_dir(disk.0.join("d")).unwrap();
    for name in ["many.csv", "many.arrow", "many.json"] {
        let file = format!("disk/d/{name}");
        dir.run(&["export", "many", "--output", &file]).fails(4, &["No space left", "free some space"]);
        assert_eq!(fs::read_dir(disk.0.join("d")).unwrap().count(), 0, "{name}");
    }
    let file = disk.0.join("d/many.csv");
    File::create(&file).unwrap();
    dir.run(&["export", "many", "--output", "disk/d/many.csv", "--force"]).fails(4, &[]);
    assert_eq!(fs::metadata(&file).unwrap().len(), 0, "what was there stays");
    assert_eq!(
        Outcome::of(&mut dir.command(&["export", "items", "--output", "disk/d/items.csv"]), "").code,
        0
    );
}

/// A file system of 256 KiB. Mounting it needs root.
struct SmallDisk(PathBuf);

impl SmallDisk {
    #[track_caller]
    fn mount(dir: PathBuf) -> Option<Self> {
        fs::create_dir(&dir).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&dir).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(dir)),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                not_run(format_args!("cannot mount a small disk: {}", why.trim()));
                None
            }
            Err(error) => {
                not_run(format_args!("cannot mount a small disk: {error}"));
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "the disk stays mounted"
        );
    }
}
