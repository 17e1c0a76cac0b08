//! Rows that deletion vectors take out of files.

use pillion::source::{After, Fetch, Relation, Source};
use pillion::{ErrorCode, Value};

use crate::support::lake::Lake;
use crate::support::{call, failure, rows, shown, try_rows};

#[test]
fn rows_in_a_vector_are_left_out() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "write('t', numbers(0, 10))
write('t', numbers(10, 10))
delete_rows('t', files('t')[0], [0, 3, 4, 9])",
    );
    let (source, relation) = (lake.source(), Relation::table("t"));
    let inline = shown(&rows(&source, &relation));
    assert_eq!((inline.len(), &inline), (16, &shown(&lake.answer("t"))));
    let before = source.describe(&relation, &call()).unwrap();
    assert_eq!(before.expected_rows(), Some(16));
    // More rows of the same file, in a file of their own.
    lake.run("delete_rows('t', files('t')[0], [0, 1, 3, 4, 8, 9], is_file=True)");
    let in_file = shown(&rows(&source, &relation));
    assert_eq!((in_file.len(), &in_file), (14, &shown(&lake.answer("t"))));
    let after = source.describe(&relation, &call()).unwrap();
    assert_ne!(before.all_parts()[0].mark, after.all_parts()[0].mark, "the data files are the same");
    let from = After { column: "id".to_owned(), value: Value::Int(9) };
    let found = try_rows(&source, &Fetch::of(relation).after(from)).unwrap();
    let expected: Vec<String> = in_file
        .into_iter()
        .filter(|row| row.split(',').next().unwrap().parse::<i64>().unwrap() >= 9)
        .collect();
    assert_eq!(shown(&found), expected);
}

/// Vectors count the rows of a file across its row groups and batches.
#[test]
fn vectors_reach_across_batches() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "write('t', numbers(0, 40000), writer_properties=delta.WriterProperties(max_row_group_size=15000))
delete_rows('t', files('t')[0], [0, 8191, 8192, 14999, 15000, 39999])",
    );
    let found = rows(&lake.source(), &Relation::table("t"));
    assert_eq!(found.num_rows(), 40_000 - 6);
    let all = shown(&found);
    for deleted in [0, 8191, 8192, 14_999, 15_000, 39_999] {
        assert!(!all.contains(&format!("{deleted},text {deleted}")), "{deleted}");
    }
    assert_eq!(all, shown(&lake.answer("t")));
}

/// Vectors in the log have no checksum, and whoever believed them would make room for what they say.
#[test]
fn rows_that_a_file_cannot_have_are_refused() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "for name in ('behind', 'far', 'many'): write(name, numbers(0, 10))
delete_rows('behind', files('behind')[0], [1, 10])
in_reach, honest = bitmap, vector
bitmap = lambda rows: (data := in_reach(rows))[:12] + struct.pack('<I', 2**32 - 1) + data[16:]
delete_rows('far', files('far')[0], [1, 2])
bitmap = in_reach
vector = lambda *of: honest(*of) | {'cardinality': 11}
delete_rows('many', files('many')[0], [1, 2])",
    );
    let source = lake.source();
    for (table, said) in
        [("behind", "number 10"), ("far", "number 18446744069414584322"), ("many", "11 rows")]
    {
        let refused = failure(&source, &Relation::table(table));
        assert_eq!(refused.code(), ErrorCode::SourceInvalid, "{table}: {refused:?}");
        let message = refused.message();
        assert!(message.contains(said) && message.contains("has 10 rows"), "{table}: {message}");
        assert!(message.contains(".parquet"), "{table}: {message}");
    }
}
