//! The partitions of a table as parts of a relation.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use delta_kernel::scan::state::ScanFile;
use delta_kernel::schema::{DataType as DeltaType, PrimitiveType, StructField, StructType};
use delta_kernel::table_features::ColumnMappingMode;
use pillion::source::Part;
use xxhash_rust::xxh3::Xxh3;

use crate::table::Table;

/// The part of a table that has no partitions.
const WHOLE: &str = "all";

/// A part of a table, with the numbers of its files.
pub(crate) type PartFiles = (Part, Vec<usize>);

/// A column by which a table is partitioned.
struct Partitioner {
    name: String,
    /// Its name in the log.
    physical: String,
    /// `None` if rows do not show the values: the column is left out.
    data_type: Option<DataType>,
    /// Whether its values are texts or bytes, of which an empty one is a value.
    is_text: bool,
}

impl Partitioner {
    /// Its value in a file, as the kernel reads it: an empty text in the log stands for null if it is not a value of the column.
    fn value<'a>(&self, file: &'a ScanFile) -> Option<&'a str> {
        let value = file.partition_values.get(&self.physical).map(String::as_str);
        value.filter(|value| self.is_text || !value.is_empty())
    }
}

/// The parts of a table: its partitions, or all of it.
pub(crate) fn parts(table: &Table, files: &[ScanFile]) -> Vec<PartFiles> {
    let columns = partitioners(table);
    let mut groups: BTreeMap<Vec<Option<&str>>, Vec<usize>> = BTreeMap::new();
    for (number, file) in files.iter().enumerate() {
        let values = columns.iter().map(|column| column.value(file)).collect();
        groups.entry(values).or_default().push(number);
    }
    let shown: Option<Vec<Values>> = groups.keys().map(|values| shown(&columns, values)).collect();
    let shown = shown.unwrap_or_else(|| vec![Values::new(); groups.len()]);
    let configuration = table.snapshot.table_configuration();
    let in_files = in_files(&table.snapshot.schema(), configuration.column_mapping_mode());
    let part = |((values, of_part), shown): ((Vec<Option<&str>>, Vec<usize>), Values)| {
        let name = if columns.is_empty() { WHOLE.to_owned() } else { name_of(&columns, &values) };
        let mark = mark(&in_files, of_part.iter().filter_map(|number| files.get(*number)));
        (Part { name, mark, values: shown }, of_part)
    };
    groups.into_iter().zip(shown).map(part).collect()
}

/// Values of columns by their names, as Arrow shows them.
type Values = Vec<(String, Option<String>)>;

fn partitioners(table: &Table) -> Vec<Partitioner> {
    let configuration = table.snapshot.table_configuration();
    let (mode, schema) = (configuration.column_mapping_mode(), table.snapshot.schema());
    let partitioner = |name: &String| {
        let field = schema.field(name);
        Partitioner {
            name: name.clone(),
            physical: field.map_or(name.as_str(), |field| field.physical_name(mode)).to_owned(),
            data_type: table.columns.stored(name).ok().map(|(data_type, _)| data_type),
            is_text: field.is_some_and(|field| is_text(field.data_type())),
        }
    };
    configuration.metadata().partition_columns().iter().map(partitioner).collect()
}

/// The values of a part, if its rows show them.
fn shown(columns: &[Partitioner], values: &[Option<&str>]) -> Option<Values> {
    let shown = |(column, value): (&Partitioner, &Option<&str>)| {
        let data_type = column.data_type.as_ref()?;
        let value = match value {
            Some(value) => Some(as_arrow_shows(data_type, value)?),
            None => None,
        };
        Some((column.name.clone(), value))
    };
    columns.iter().zip(values).map(shown).collect()
}

/// A value of the log in the form in which Arrow shows it; `None` if that is not clear.
fn as_arrow_shows(data_type: &DataType, value: &str) -> Option<String> {
    let is_clear = matches!(data_type, DataType::Utf8 | DataType::Boolean | DataType::Date32)
        || matches!(data_type, DataType::Timestamp(..) | DataType::Decimal128(..))
        || data_type.is_integer();
    if !is_clear {
        return None;
    }
    let text: ArrayRef = Arc::new(StringArray::from(vec![value]));
    let value = cast(&text, data_type).ok().filter(|value| value.is_valid(0))?;
    let options = FormatOptions::new();
    let shown = ArrayFormatter::try_new(&value, &options).ok()?.value(0).try_to_string();
    shown.ok()
}

/// The name of a part, such as `year=2013/month=1`. A null differs from every text.
fn name_of(columns: &[Partitioner], values: &[Option<&str>]) -> String {
    let pair = |(column, value): (&Partitioner, &Option<&str>)| match value {
        Some(value) => format!("{}={}", column.name, value.replace('%', "%25").replace('/', "%2F")),
        None => format!("{}=%", column.name),
    };
    columns.iter().zip(values).map(pair).collect::<Vec<_>>().join("/")
}

fn is_text(data_type: &DeltaType) -> bool {
    matches!(data_type, DeltaType::Primitive(PrimitiveType::String | PrimitiveType::Binary))
}

/// What the columns of a table are called in its files, and what they are there. A commit can change that alone, as one does that drops a
/// column and adds another one of its name: the same files have other rows then.
fn in_files(columns: &StructType, mode: ColumnMappingMode) -> String {
    let column = |field: &StructField| {
        let (physical, number) = (field.physical_name(mode), field.column_mapping_id());
        format!("{:?} {physical:?} {number:?} {}", field.name(), type_in_files(field.data_type(), mode))
    };
    let columns: Vec<String> = columns.fields().map(column).collect();
    format!("{mode:?} {}", columns.join(", "))
}

fn type_in_files(data_type: &DeltaType, mode: ColumnMappingMode) -> String {
    match data_type {
        DeltaType::Struct(fields) => format!("struct<{}>", in_files(fields, mode)),
        DeltaType::Array(list) => format!("array<{}>", type_in_files(list.element_type(), mode)),
        DeltaType::Map(map) => {
            let (key, value) = (type_in_files(map.key_type(), mode), type_in_files(map.value_type(), mode));
            format!("map<{key}, {value}>")
        }
        DeltaType::Primitive(_) | DeltaType::Variant(_) => data_type.to_string(),
    }
}

/// A digest of files, of what is deleted in them, and of what their columns are. No file is ever written a second time under its name.
fn mark<'a>(in_files: &str, files: impl Iterator<Item = &'a ScanFile>) -> Vec<u8> {
    let mut names: Vec<String> =
        files.map(|file| format!("{} {} {:?}\n", file.path, file.size, file.dv_info)).collect();
    names.sort_unstable();
    let mut digest = Xxh3::new();
    for name in std::iter::once(in_files).chain(names.iter().map(String::as_str)) {
        digest.update(&(name.len() as u64).to_le_bytes());
        digest.update(name.as_bytes());
    }
    digest.digest128().to_le_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;
    use delta_kernel::scan::state::DvInfo;

    use super::*;

    fn file(value: Option<&str>) -> ScanFile {
        ScanFile {
            path: "a.parquet".to_owned(),
            size: 1,
            modification_time: 0,
            stats: None,
            dv_info: DvInfo::default(),
            transform: None,
            partition_values: value.map(|value| ("c".to_owned(), value.to_owned())).into_iter().collect(),
        }
    }

    #[test]
    fn only_texts_are_empty() {
        let of = |data_type: DeltaType, value: Option<&str>| {
            let is_text = is_text(&data_type);
            let column =
                Partitioner { name: "c".to_owned(), physical: "c".to_owned(), data_type: None, is_text };
            column.value(&file(value)).map(str::to_owned)
        };
        assert_eq!(of(DeltaType::STRING, Some("")).as_deref(), Some(""));
        assert_eq!(of(DeltaType::BINARY, Some("")).as_deref(), Some(""));
        assert_eq!(of(DeltaType::LONG, Some("")), None);
        assert_eq!(of(DeltaType::LONG, Some("7")).as_deref(), Some("7"));
        assert_eq!(of(DeltaType::STRING, None), None);
        assert_eq!(as_arrow_shows(&DataType::Utf8, "").as_deref(), Some(""));
    }

    #[test]
    fn the_same_files_of_other_columns_have_another_mark() {
        let (none, name) = (ColumnMappingMode::None, ColumnMappingMode::Name);
        let marked = |mode: ColumnMappingMode, physical: &str, data_type: DeltaType| {
            let price = StructField::nullable("price", data_type)
                .with_metadata([("delta.columnMapping.physicalName", physical)]);
            let inner = StructType::try_new([price.clone()]).unwrap();
            let all = StructType::try_new([StructField::nullable("in", DeltaType::from(inner))]).unwrap();
            let flat = StructType::try_new([price]).unwrap();
            let file = file(None);
            [flat, all].map(|columns| mark(&in_files(&columns, mode), [&file].into_iter()))
        };
        let before = marked(name, "col-1", DeltaType::DOUBLE);
        assert_eq!(before, marked(name, "col-1", DeltaType::DOUBLE));
        for after in [
            marked(name, "col-2", DeltaType::DOUBLE),
            marked(name, "col-1", DeltaType::LONG),
            marked(ColumnMappingMode::Id, "col-1", DeltaType::DOUBLE),
        ] {
            assert!(before[0] != after[0] && before[1] != after[1]);
        }
        let without_names = marked(none, "col-1", DeltaType::DOUBLE);
        assert_eq!(without_names, marked(none, "col-2", DeltaType::DOUBLE), "nobody reads them");
    }

    #[test]
    fn values_are_as_arrow_shows_them() {
        let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for (data_type, value, shown) in [
            (DataType::Int32, "07", Some("7")),
            (DataType::Date32, "2024-02-29", Some("2024-02-29")),
            (DataType::Utf8, "a/b", Some("a/b")),
            (moment.clone(), "2024-02-29 12:00:00.5", Some("2024-02-29T12:00:00.500Z")),
            (moment, "2024-02-29T12:00:00.000000Z", Some("2024-02-29T12:00:00Z")),
            (DataType::Decimal128(5, 2), "1.5", Some("1.50")),
            (DataType::Int32, "x", None),
            (DataType::Float64, "0.1", None),
        ] {
            assert_eq!(as_arrow_shows(&data_type, value).as_deref(), shown, "{value} of {data_type}");
        }
    }

    #[test]
    fn parts_have_names_of_their_own() {
        let column = |name: &str| Partitioner {
            name: name.to_owned(),
            physical: String::new(),
            data_type: None,
            is_text: true,
        };
        let columns = [column("a"), column("b")];
        assert_eq!(name_of(&columns, &[Some("1/2"), None]), "a=1%2F2/b=%");
        assert_ne!(name_of(&columns, &[Some("%"), None]), name_of(&columns, &[None, None]));
        assert_ne!(name_of(&columns, &[Some(""), None]), name_of(&columns, &[None, None]));
        assert_eq!(shown(&columns, &[Some("1"), None]), None, "rows do not show them");
    }
}
