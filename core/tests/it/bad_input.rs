//! Input files that are damaged, cut short, missing or of another kind: a clear error, and nothing changes.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use pillion::{Cache, Error, ErrorCode, Input, TableDefinition};

use crate::support::random::Random;
use crate::support::{assert_ids, data, define, files, refused};

/// A cache with a table `old`, which every failure must leave as it is.
struct Fixture {
    cache: Cache,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().join("cache")).unwrap();
        define(&cache, "old", 0..100).unwrap();
        Self { cache, dir }
    }

    fn input(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn cache_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("cache")
    }

    fn folders(&self) -> usize {
        fs::read_dir(self.cache_dir().join("tables")).unwrap().count()
    }

    /// Defines a table `new`. If that fails, it must not have panicked, and must leave nothing.
    fn load(&self, definition: TableDefinition) -> Result<RecordBatch, Error> {
        let before = files::segments(&self.cache_dir());
        let folders = self.folders();
        let version = self.cache.version().unwrap();
        let loaded = catch_unwind(AssertUnwindSafe(|| {
            let table = self.cache.define_table("new", definition)?;
            table.scan()?.concat()
        }));
        let loaded = loaded.expect("a panic came out of the cache");
        match &loaded {
            Ok(_) => {
                self.cache.drop_table("new").unwrap();
            }
            Err(error) => {
                refused(self.cache.table("new"), ErrorCode::TableNotFound, &["new"]);
                assert_eq!(self.cache.version().unwrap(), version, "{error:?}");
                assert_eq!(files::segments(&self.cache_dir()), before, "{error:?}");
                assert_eq!(self.folders(), folders, "folders of tables: {error:?}");
            }
        }
        files::assert_no_temporary_files(&self.cache_dir());
        loaded
    }

    /// The old table can be read and written, also after the cache is opened again.
    fn finish(self) {
        assert_ids(&self.cache.table("old").unwrap(), 0..100);
        self.cache.table("old").unwrap().append(crate::support::numbered([100])).unwrap();
        self.cache.close().unwrap();
        drop(self.cache);
        let cache = Cache::open(self.dir.path().join("cache")).unwrap();
        assert_eq!(cache.tables().unwrap().len(), 1);
        assert_ids(&cache.table("old").unwrap(), 0..=100);
        assert_eq!(cache.status().unwrap().damage, None);
    }
}

/// The outcomes of loading damaged files.
#[derive(Debug, Default)]
struct Outcomes {
    refused: usize,
    equal: usize,
    different: usize,
}

impl Outcomes {
    /// These Parquet files carry no checksums, so damage within values may give other values. It must never give a
    /// panic, an error that blames the cache, or incomplete columns.
    #[track_caller]
    fn add(&mut self, loaded: Result<RecordBatch, Error>, whole: &RecordBatch, what: &str) {
        match loaded {
            Err(error) => {
                // A damaged number of a codec may be that of one which the build lacks.
                let file_is_blamed = [
                    ErrorCode::SourceInvalid,
                    ErrorCode::UnsupportedType,
                    ErrorCode::InvalidArgument,
                    ErrorCode::Unsupported,
                ];
                assert!(file_is_blamed.contains(&error.code()), "{what}: {error:?}");
                assert!(!error.message().is_empty());
                self.refused += 1;
            }
            Ok(rows) if &rows == whole => self.equal += 1,
            Ok(rows) => {
                for column in rows.columns() {
                    column.to_data().validate_full().unwrap_or_else(|error| panic!("{what}: {error}"));
                }
                self.different += 1;
            }
        }
    }
}

fn rows(cache: &Cache, path: &Path) -> RecordBatch {
    let definition = TableDefinition::parquet(path.display().to_string());
    let rows = cache.define_table("whole", definition).unwrap().scan().unwrap().concat().unwrap();
    cache.drop_table("whole").unwrap();
    rows
}

/// Loads a Parquet file several times, each time with one of the given bits flipped.
fn flip_bits(name: &str, bits: impl FnOnce(u64, &mut Random) -> Vec<u64>) -> Outcomes {
    let fixture = Fixture::new();
    let bytes = fs::read(data(name)).unwrap();
    let whole = rows(&fixture.cache, Path::new(&data(name)));
    let path = fixture.input("damaged.parquet");
    let mut outcomes = Outcomes::default();
    for bit in bits(bytes.len() as u64 * 8, &mut Random::new(3)) {
        let mut damaged = bytes.clone();
        damaged[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        files::write(&path, &damaged);
        let loaded = fixture.load(TableDefinition::parquet(path.display().to_string()));
        outcomes.add(loaded, &whole, &format!("{name} with bit {bit} flipped"));
    }
    fixture.finish();
    println!("{name}: {outcomes:?}");
    outcomes
}

#[test]
fn a_small_parquet_file_with_any_byte_damaged() {
    let outcomes = flip_bits("airlines.parquet", |bits, random| {
        (0..bits / 8).step_by(2).map(|byte| (byte * 8 + random.below(16)).min(bits - 1)).collect()
    });
    assert!(outcomes.refused > 100, "{outcomes:?}");
}

#[test]
fn a_parquet_file_with_pages_and_footer_damaged() {
    let outcomes = flip_bits("planes.parquet", |bits, random| {
        // The footer lies in the last kilobyte and a half.
        let footer = 1_500 * 8;
        let pages = (0..40).map(|_| random.below(bits - footer)).collect::<Vec<_>>();
        let footer = (0..40).map(|_| bits - 1 - random.below(footer)).collect();
        [pages, footer].concat()
    });
    assert!(outcomes.refused > 10, "{outcomes:?}");
}

#[test]
fn a_parquet_file_cut_short() {
    let fixture = Fixture::new();
    for (name, step) in [("airlines.parquet", 13), ("planes.parquet", 397)] {
        let bytes = fs::read(data(name)).unwrap();
        let path = fixture.input(name);
        for len in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
            files::write(&path, &bytes[..len]);
            let loaded = fixture.load(TableDefinition::parquet(path.display().to_string()));
            refused(loaded, ErrorCode::SourceInvalid, &[name]);
        }
    }
    fixture.finish();
}

#[test]
fn a_damaged_file_among_good_ones() {
    let fixture = Fixture::new();
    let bytes = fs::read(data("airlines.parquet")).unwrap();
    files::write(&fixture.input("1.parquet"), &bytes);
    files::write(&fixture.input("2.parquet"), &bytes[..bytes.len() / 2]);
    let pattern = format!("{}/?.parquet", fixture.dir.path().display());
    refused(fixture.load(TableDefinition::parquet(&pattern)), ErrorCode::SourceInvalid, &["2.parquet"]);
    // A file whose column has another type. The error names the column, both types and both files.
    let write = |name: &str, of: DataType| {
        let schema = Arc::new(Schema::new(vec![Field::new("carrier", of, true)]));
        let file = fs::File::create(fixture.input(name)).unwrap();
        let writer = parquet::arrow::ArrowWriter::try_new(file, schema, None).unwrap();
        writer.close().unwrap();
    };
    write("2.parquet", DataType::Date32);
    refused(
        fixture.load(TableDefinition::parquet(&pattern)),
        ErrorCode::SchemaMismatch,
        &["2.parquet", "1.parquet", "`carrier`", "Date32", "Utf8"],
    );
    fixture.finish();
}

#[test]
fn files_that_are_missing_or_of_another_kind() {
    let fixture = Fixture::new();
    let path = |name: &str| fixture.input(name).display().to_string();
    let missing = path("missing.parquet");
    refused(fixture.load(TableDefinition::parquet(&missing)), ErrorCode::SourceNotFound, &[&missing]);
    refused(fixture.load(TableDefinition::csv(&missing)), ErrorCode::SourceNotFound, &[&missing]);
    let pattern = path("none-*.parquet");
    refused(fixture.load(TableDefinition::parquet(&pattern)), ErrorCode::SourceNotFound, &[&pattern]);
    refused(fixture.load(TableDefinition::csv(&pattern)), ErrorCode::SourceNotFound, &[&pattern]);
    refused(fixture.load(TableDefinition::parquet(path("a***"))), ErrorCode::InvalidArgument, &["a***"]);
    files::write(&fixture.input("empty"), b"");
    files::write(&fixture.input("text"), b"just some text, long enough for a footer to be looked for");
    files::write(&fixture.input("magic"), b"PAR1PAR1PAR1");
    for name in ["empty", "text", "magic"] {
        refused(fixture.load(TableDefinition::parquet(path(name))), ErrorCode::SourceInvalid, &[name]);
    }
    let error = fixture.load(TableDefinition::parquet(fixture.dir.path().display().to_string())).unwrap_err();
    assert!(matches!(error.code(), ErrorCode::SourceInvalid | ErrorCode::SourceNotFound), "{error:?}");
    // Writes to an existing table meet the same errors.
    let old = fixture.cache.table("old").unwrap();
    refused(old.append(Input::parquet(&missing)), ErrorCode::SourceNotFound, &[&missing]);
    refused(old.replace(Input::parquet(path("text"))), ErrorCode::SourceInvalid, &["text"]);
    refused(old.append(Input::parquet(data("airlines.parquet"))), ErrorCode::SchemaMismatch, &["carrier"]);
    fixture.finish();
}

#[test]
fn csv_files_that_are_not_tables() {
    let fixture = Fixture::new();
    let load = |text: &[u8]| {
        files::write(&fixture.input("rows.csv"), text);
        fixture.load(TableDefinition::csv(fixture.input("rows.csv").display().to_string()))
    };
    let good = load(b"id,name\n1,one\n2,\n").unwrap();
    assert_eq!((good.num_rows(), good.column(1).null_count()), (2, 1));
    let wrong: [&[u8]; 4] = [
        b"id,name\n1,one\n2,two,too many\n3,three\n",
        b"id,name\n1,one\n2\n3,three\n",
        b"id,name\n1,one\n2,\xFF\xFE\n",
        b"id,name\n1,one\n2,two\n\n3,three,3\n",
    ];
    for text in wrong {
        let code = load(text).map_err(|error| error.code());
        assert_eq!(code, Err(ErrorCode::SourceInvalid), "{}", String::from_utf8_lossy(text));
    }
    // A line that is wrong, after many good ones.
    let mut late = String::from("id,name\n");
    (0..40_000).for_each(|id| late.push_str(&format!("{id},x\n")));
    late.push_str("40000,x,y\n");
    refused(load(late.as_bytes()), ErrorCode::SourceInvalid, &["rows.csv"]);

    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, true),
    ]));
    let typed = |text: &str| {
        files::write(&fixture.input("typed.csv"), text.as_bytes());
        let input = Input::csv_with_schema(fixture.input("typed.csv").display().to_string(), schema.clone());
        fixture.load(TableDefinition::new(input))
    };
    assert_eq!(typed("id,name\n1,one\n").unwrap().num_rows(), 1);
    for text in ["id,name\none,1\n", "id,name\n3000000000,x\n", "id\n1\n", "id,name,more\n1,one,2\n"] {
        refused(typed(text), ErrorCode::SourceInvalid, &["typed.csv"]);
    }
    fixture.finish();
}

#[test]
fn a_csv_file_without_rows() {
    let fixture = Fixture::new();
    files::write(&fixture.input("empty.csv"), b"");
    let empty = fixture.load(TableDefinition::csv(fixture.input("empty.csv").display().to_string()));
    refused(empty, ErrorCode::SourceInvalid, &["empty.csv"]);
    files::write(&fixture.input("header.csv"), b"id,name\n");
    let header =
        fixture.load(TableDefinition::csv(fixture.input("header.csv").display().to_string())).unwrap();
    assert_eq!((header.num_rows(), header.num_columns()), (0, 2));
    fixture.finish();
}

/// Each file by itself, in the order in which it would be read, and no rows.
#[test]
fn files_are_looked_at_before_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let airlines = data("airlines.parquet");
    fs::copy(&airlines, dir.path().join("b.parquet")).unwrap();
    files::write(&dir.path().join("a.parquet"), b"PAR1 and no more");
    files::write(&dir.path().join("c.csv"), b"x\n1\n");
    files::write(&dir.path().join("d.dat"), b"x\n1\n");
    let input =
        Input::files([path("*.parquet"), path("c.csv"), path("d.dat"), path("gone.csv"), path("*.arrow")]);
    let [torn, whole, csv, text, gone, none]: [_; 6] = input.look().try_into().unwrap();
    assert_eq!(torn.unwrap_err().code(), ErrorCode::SourceInvalid);
    let whole = whole.unwrap();
    assert_eq!(
        (whole.path.to_str(), whole.bytes),
        (Some(&*path("b.parquet")), fs::metadata(&airlines).unwrap().len())
    );
    let columns = whole.schema.unwrap();
    let names: Vec<&str> = columns.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["carrier", "name"]);
    let csv = csv.unwrap();
    assert_eq!((csv.bytes, csv.schema), (4, None));
    assert_eq!(text.unwrap_err().code(), ErrorCode::InvalidArgument);
    assert_eq!(gone.unwrap_err().code(), ErrorCode::SourceNotFound);
    assert_eq!(none.unwrap_err().code(), ErrorCode::SourceNotFound);
    let told = Schema::new(vec![Field::new("x", DataType::Int32, true)]);
    let told = Input::csv_with_schema(path("d.dat"), Arc::new(told)).look().remove(0).unwrap().schema;
    assert_eq!(told.unwrap().field(0).data_type(), &DataType::Int32);
    assert!(Input::from(Vec::<RecordBatch>::new()).look().is_empty());
}
