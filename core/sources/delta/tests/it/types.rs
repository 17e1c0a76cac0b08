//! Types of columns, and how they and their names change.

use pillion::ErrorCode;
use pillion::source::{Fetch, Relation, Source};

use crate::support::lake::Lake;
use crate::support::{call, columns, failure, rows, shown, try_rows};

#[test]
fn columns_have_the_types_of_the_table() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "moment = dt.datetime(2024, 2, 29, 12, 34, 56, 789012)
columns = {
    'i8': pa.array([1, None], pa.int8()), 'i16': pa.array([-2, None], pa.int16()),
    'i32': pa.array([3, None], pa.int32()), 'i64': pa.array([2**62, None], pa.int64()),
    'f32': pa.array([0.5, None], pa.float32()), 'f64': pa.array([float('nan'), None], pa.float64()),
    'd': pa.array([decimal.Decimal('-12345678901234567890.12'), None], pa.decimal128(38, 2)),
    'small': pa.array([decimal.Decimal('1.5'), None], pa.decimal128(5, 2)),
    'b': [True, None], 's': ['ä', None], 'x': pa.array([b'\\x00\\xff', None], pa.binary()),
    'day': pa.array([moment.date(), None], pa.date32()),
    'at': pa.array([moment, None], pa.timestamp('us', 'UTC')),
    'local': pa.array([moment, None], pa.timestamp('us')),
    'old': pa.array([-62135596800000000, None], pa.timestamp('us', 'UTC')),
    'st': pa.array([{'a': 1, 'b': {'c': 'x'}}, None], pa.struct([('a', pa.int32()), ('b', pa.struct([('c', pa.string())]))])),
    'l': pa.array([[1, None], None], pa.list_(pa.int64())),
    'ls': pa.array([[{'a': 1}], None], pa.list_(pa.struct([('a', pa.int64())]))),
    'm': pa.array([[('k', 1)], None], pa.map_(pa.string(), pa.int64())),
}
write('t', columns)",
    );
    let (source, relation) = (lake.source(), Relation::table("t"));
    let found = rows(&source, &relation);
    let types = "i8 Int8, i16 Int16, i32 Int32, i64 Int64, f32 Float32, f64 Float64, d Decimal128(38, 2), \
                 small Decimal128(5, 2), b Boolean, s Utf8, x Binary, day Date32, at Timestamp(µs, \"UTC\"), \
                 local Timestamp(µs), old Timestamp(µs, \"UTC\")";
    let columns = columns(&found);
    assert!(columns.starts_with(types), "{columns}");
    assert_eq!(shown(&found), shown(&lake.answer("t")));
    let row = shown(&found).pop().unwrap();
    for value in
        ["-12345678901234567890.12", "1.50", "00ff", "2024-02-29T12:34:56.789012Z", "0001-01-01T00:00:00Z"]
    {
        assert!(row.contains(value), "{value} is not in {row}");
    }
    for field in found.schema().fields() {
        assert!(field.metadata().is_empty() && field.is_nullable(), "{field}");
    }
    let texts = relation.clone().as_text(["m", "at", "d"]).leave_out(["x"]);
    let found = rows(&source, &texts);
    assert_eq!(found.num_columns(), 18);
    let of =
        |name: &str| shown(&found.project(&[found.schema().index_of(name).unwrap()]).unwrap()).pop().unwrap();
    assert_eq!((of("m"), of("at")), ("{k: 1}".to_owned(), "2024-02-29T12:34:56.789012Z".to_owned()));
    let unknown = failure(&source, &relation.leave_out(["locale"]));
    assert_eq!(unknown.code(), ErrorCode::ColumnNotFound);
    assert!(unknown.message().contains("did you mean `local`?"), "{unknown}");
}

#[test]
fn columns_that_were_added_are_null_before() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "write('t', numbers(0, 2))
more = numbers(2, 2).append_column('more', pa.array([1.5, 2.5]))
write('t', more, schema_mode='merge')
table('t').alter.add_columns([delta.Field('nested', delta.Schema.from_arrow(pa.schema([('a', pa.int64())])).fields[0].type)])",
    );
    let source = lake.source();
    let found = rows(&source, &Relation::table("t"));
    assert_eq!(columns(&found), "id Int64, text Utf8, more Float64, nested Int64");
    assert_eq!(shown(&found), ["0,text 0,-,-", "1,text 1,-,-", "2,text 2,1.5,-", "3,text 3,2.5,-"]);
    assert_eq!(shown(&found), shown(&lake.answer("t")));
    let before = rows(&source, &Relation::table("t").option("version", "0"));
    assert_eq!(columns(&before), "id Int64, text Utf8");
    let only = try_rows(&source, &Fetch::of(Relation::table("t")).columns(["more"])).unwrap();
    assert_eq!(shown(&only), ["-", "-", "1.5", "2.5"]);
}

#[test]
fn partitions_are_columns() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "regions = ['eu', 'a b', 'x/y=z', '50%', None, 'ü']
write('t', {
    'id': pa.array(range(6), pa.int64()), 'region': regions,
    'day': pa.array([dt.date(2024, 1, n + 1) for n in range(6)], pa.date32()),
    'hour': pa.array([dt.datetime(2024, 1, 1, n, 30) for n in range(6)], pa.timestamp('us', 'UTC')),
    'n': pa.array(range(-3, 3), pa.int32()), 'ok': [True, False, None] * 2,
}, partition_by=['region', 'day', 'hour', 'n', 'ok'])",
    );
    let (source, relation) = (lake.source(), Relation::table("t"));
    let found = rows(&source, &relation);
    let types = "id Int64, region Utf8, day Date32, hour Timestamp(µs, \"UTC\"), n Int32, ok Boolean";
    assert_eq!(columns(&found), types);
    assert_eq!(shown(&found), shown(&lake.answer("t")));
    assert_eq!(shown(&found)[2], "2,x/y=z,2024-01-03,2024-01-01T02:30:00Z,-1,-");
    let only = try_rows(&source, &Fetch::of(relation).columns(["n", "region"])).unwrap();
    assert_eq!(shown(&only), ["-1,x/y=z", "-2,a b", "-3,eu", "0,50%", "1,-", "2,ü"], "no column of any file");
}

#[test]
fn columns_have_other_names_in_files() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "rows = {'id': pa.array([1, 2], pa.int64()), 'a b;c': ['x', 'y'],
        'st': pa.array([{'in ner': 1}, None], pa.struct([('in ner', pa.int64())])), 'region': ['eu', 'us']}
write('t', rows, configuration={'delta.columnMapping.mode': 'name'}, partition_by=['region'])
write('t', rows | {'id': pa.array([3, 4], pa.int64())})
meta = [action['metaData'] for action in actions('t', 0) if 'metaData' in action][0]
schema = json.loads(meta['schemaString'])
schema['fields'][0]['name'] = 'number'
commit('t', {'metaData': meta | {'schemaString': json.dumps(schema)}})",
    );
    let (source, relation) = (lake.source(), Relation::table("t"));
    let found = rows(&source, &relation);
    assert!(columns(&found).starts_with("number Int64, a b;c Utf8, st Struct"), "{}", columns(&found));
    let expected = ["1,x,{in ner: 1},eu", "2,y,-,us", "3,x,{in ner: 1},eu", "4,y,-,us"];
    assert_eq!(shown(&found), expected, "the first column was renamed");
    let described = source.describe(&relation, &call()).unwrap();
    let parts: Vec<&str> = described.all_parts().iter().map(|part| part.name.as_str()).collect();
    assert_eq!(parts, ["region=eu", "region=us"]);
    // The same files, found by the numbers of their columns.
    lake.run(
        "meta['configuration']['delta.columnMapping.mode'] = 'id'
commit('t', {'metaData': meta | {'schemaString': json.dumps(schema)}})"
            .replacen(
                "meta[",
                "meta = actions('t', 2)[0]['metaData']\nschema = json.loads(meta['schemaString'])\nmeta[",
                1,
            )
            .as_str(),
    );
    assert_eq!(shown(&rows(&source, &relation)), expected);
}

#[test]
fn types_are_widened() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "write('t', {'n': pa.array([1, 2], pa.int32()), 'f': pa.array([0.5, 1.5], pa.float32()), 'd': pa.array([dt.date(2024, 1, 1)] * 2)})
features = ['typeWidening', 'timestampNtz']
commit('t', {'protocol': {'minReaderVersion': 3, 'minWriterVersion': 7, 'readerFeatures': features, 'writerFeatures': features}})
meta = [action['metaData'] for action in actions('t', 0) if 'metaData' in action][0]
schema = json.loads(meta['schemaString'])
for field, (before, after) in zip(schema['fields'], [('integer', 'long'), ('float', 'double'), ('date', 'timestamp_ntz')]):
    field['type'] = after
    field['metadata']['delta.typeChanges'] = [{'fromType': before, 'toType': after}]
configuration = {'delta.enableTypeWidening': 'true'}
commit('t', {'metaData': meta | {'schemaString': json.dumps(schema), 'configuration': configuration}})",
    );
    let found = rows(&lake.source(), &Relation::table("t"));
    assert_eq!(columns(&found), "n Int64, f Float64, d Timestamp(µs)");
    assert_eq!(shown(&found), ["1,0.5,2024-01-01T00:00:00", "2,1.5,2024-01-01T00:00:00"]);
}

#[test]
fn empty_tables_have_columns() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "delta.DeltaTable.create(place('created'), delta.Schema.from_arrow(pa.schema([
    pa.field('id', pa.int64(), nullable=False), pa.field('text', pa.string())])))
write('emptied', numbers(0, 3))
table('emptied').delete()
write('none', numbers(0, 0))",
    );
    let source = lake.source();
    for name in ["created", "emptied", "none"] {
        let found = rows(&source, &Relation::table(name));
        assert_eq!((columns(&found).as_str(), found.num_rows()), ("id Int64, text Utf8", 0), "{name}");
    }
    let described = source.describe(&Relation::table("created"), &call()).unwrap();
    assert!(!described.schema().field(0).is_nullable() && described.schema().field(1).is_nullable());
}

#[test]
fn what_cannot_be_read_is_named() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "write('t', numbers(0, 2))
meta = [action['metaData'] for action in actions('t', 0) if 'metaData' in action][0]
schema = json.loads(meta['schemaString'])
schema['fields'].append({'name': 'v', 'type': 'variant', 'nullable': True, 'metadata': {}})
features = ['variantType']
commit('t', {'protocol': {'minReaderVersion': 3, 'minWriterVersion': 7, 'readerFeatures': features, 'writerFeatures': features}},
       {'metaData': meta | {'schemaString': json.dumps(schema)}})",
    );
    let (source, relation) = (lake.source(), Relation::table("t"));
    let refused = failure(&source, &relation);
    assert_eq!(refused.code(), ErrorCode::UnsupportedType);
    assert!(refused.message().contains("`v`") && refused.message().contains("Variant"), "{refused}");
    assert_eq!(rows(&source, &relation.clone().leave_out(["v"])).num_rows(), 2);
    let only = relation.only(["id"]);
    assert_eq!(source.describe(&only, &call()).unwrap().schema().fields().len(), 1);
}
