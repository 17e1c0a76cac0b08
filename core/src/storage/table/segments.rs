//! The segments of a table, and which of them may hold a key.

use std::ops::Deref;
use std::sync::Arc;

use crate::storage::segment::SegmentHandle;

/// The segments of a table, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segments {
    all: Vec<Arc<SegmentHandle>>,
    /// Ends of stretches: neighbouring segments whose key ranges ascend without overlap. At most one segment of a
    /// stretch holds a key.
    stretches: Vec<usize>,
}

impl Segments {
    /// These segments, oldest first.
    pub(crate) fn new(all: Vec<Arc<SegmentHandle>>) -> Self {
        let ends_stretch = |&end: &usize| match all.get(end) {
            Some(next) => !all[end - 1].record().is_below(&next.record().min_key),
            None => true,
        };
        let stretches = (1..=all.len()).filter(ends_stretch).collect();
        Self { all, stretches }
    }

    /// The segments whose bounds enclose a key, newest first.
    #[inline]
    pub(crate) fn holding<'a>(&'a self, key: &[u8]) -> impl Iterator<Item = &'a Arc<SegmentHandle>> {
        (0..self.stretches.len()).rev().filter_map(move |number| {
            let start = number.checked_sub(1).map_or(0, |before| self.stretches[before]);
            let stretch = &self.all[start..self.stretches[number]];
            let candidate = match stretch {
                [only] => only,
                many => many.get(many.partition_point(|segment| segment.record().is_below(key)))?,
            };
            candidate.may_hold(key).then_some(candidate)
        })
    }

    /// The handles, so that other handles of the same segments can replace them.
    pub(crate) fn handles_mut(&mut self) -> impl Iterator<Item = &mut Arc<SegmentHandle>> {
        self.all.iter_mut()
    }
}

impl Deref for Segments {
    type Target = [Arc<SegmentHandle>];

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;

    use super::*;
    use crate::storage::catalog::edit::SegmentRecord;
    use crate::storage::catalog::files::Files;
    use crate::storage::table::TableShape;
    use crate::storage::vfs::OsVfs;

    /// Segments with these bounds, numbered from 0.
    fn segments(bounds: &[(u8, u8)]) -> Segments {
        let files = Files::new("/nowhere".into(), Arc::new(OsVfs));
        let shape = Arc::new(TableShape::keyed("t", Arc::new(Schema::empty()), 0));
        let handle = |(id, &(min, max)): (u64, &(u8, u8))| {
            let (min_key, max_key) = (vec![min], (max < u8::MAX).then(|| vec![max]));
            let record = SegmentRecord { id, rows: 1, min_key, max_key, ..SegmentRecord::default() };
            Arc::new(SegmentHandle::new(record, shape.clone(), files.clone()))
        };
        Segments::new((0..).zip(bounds).map(handle).collect())
    }

    #[test]
    fn the_segments_that_may_hold_a_key_are_found_newest_first() {
        for bounds in [
            vec![],
            vec![(5, 5)],
            vec![(0, 3), (4, 9), (12, 20), (10, 30), (31, 31), (0, 99), (2, 4), (6, 8), (8, 8), (9, 9)],
            (0..40).map(|step| (2 * step, 2 * step + 1)).collect(),
            (0..40).map(|_| (3, 7)).collect(),
            vec![(0, 3), (4, u8::MAX), (5, 6), (7, u8::MAX), (9, u8::MAX)],
            (0..40).rev().map(|step| (2 * step, 2 * step)).collect(),
        ] {
            let segments = segments(&bounds);
            for key in 0..=100 {
                let found: Vec<u64> = segments.holding(&[key]).map(|segment| segment.id()).collect();
                let holds = |(id, &(min, max)): (u64, &(u8, u8))| (min..=max).contains(&key).then_some(id);
                let mut expected: Vec<u64> = (0..).zip(&bounds).filter_map(holds).collect();
                expected.reverse();
                assert_eq!(found, expected, "{key} in {bounds:?}");
            }
        }
    }

    #[test]
    fn segments_in_order_are_not_looked_at_one_by_one() {
        let segments = segments(&(0..50).map(|step| (2 * step, 2 * step + 1)).collect::<Vec<_>>());
        assert_eq!(segments.stretches, [50]);
    }
}
