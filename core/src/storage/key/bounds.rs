//! The bounds of the keys of a segment, as its record says them.
//!
//! Records of commits and manifests name many segments, so bounds are short however long the keys are. They enclose the
//! keys of a segment, and need not be keys themselves.

use crate::storage::catalog::edit::SegmentRecord;

/// A bound has at most this many bytes.
const BOUND_LEN_MAX: usize = 256;

/// A bound that is not above a key: the key, or its beginning if it is long.
pub(crate) fn lower(key: &[u8]) -> Vec<u8> {
    key[..key.len().min(BOUND_LEN_MAX)].to_vec()
}

/// A bound that is not below a key: the key, or if it is long, bytes that are above all keys with the same beginning.
/// `None` if there is no short bound: the key begins with nothing but FF, and so may keys above it, however long they
/// are.
pub(crate) fn upper(key: &[u8]) -> Option<Vec<u8>> {
    if key.len() <= BOUND_LEN_MAX {
        return Some(key.to_vec());
    }
    let grows = key[..BOUND_LEN_MAX].iter().rposition(|&byte| byte != 0xFF)?;
    let mut bound = key[..=grows].to_vec();
    bound[grows] += 1;
    Some(bound)
}

impl SegmentRecord {
    /// Whether a key can be in the segment.
    #[inline]
    pub(crate) fn may_hold(&self, key: &[u8]) -> bool {
        self.min_key.as_slice() <= key && !self.is_below(key)
    }

    /// Whether all keys that can be in the segment are below this one.
    #[inline]
    pub(crate) fn is_below(&self, key: &[u8]) -> bool {
        self.max_key.as_deref().is_some_and(|max| max < key)
    }

    /// Whether a key can be in both segments.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        !self.is_below(&other.min_key) && !other.is_below(&self.min_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that are short, long, alike up to where bounds end, and of bytes that cannot grow.
    fn keys() -> Vec<Vec<u8>> {
        let mut keys = vec![vec![]];
        for first in [0, 7, 0xFE, 0xFF] {
            for len in [1, BOUND_LEN_MAX - 1, BOUND_LEN_MAX, BOUND_LEN_MAX + 1, 3 * BOUND_LEN_MAX] {
                for last in [0, 9, 0xFF] {
                    let mut key = vec![first; len];
                    key[len - 1] = last;
                    keys.push(key.clone());
                    key.fill(0xFF);
                    key[0] = first;
                    keys.push(key);
                }
            }
        }
        keys
    }

    #[test]
    fn bounds_are_short_and_enclose_what_they_are_of() {
        for min in keys() {
            for max in keys().into_iter().filter(|max| min <= *max) {
                let (low, high) = (lower(&min), upper(&max));
                assert!(low.len() <= BOUND_LEN_MAX && low <= min);
                assert!(high.as_ref().is_none_or(|high| high.len() <= BOUND_LEN_MAX && max <= *high));
                let record = SegmentRecord { min_key: low, max_key: high, ..SegmentRecord::default() };
                for key in keys().into_iter().filter(|key| (&min..=&max).contains(&key)) {
                    assert!(record.may_hold(&key) && !record.is_below(&key));
                    let only = (lower(&key), upper(&key));
                    let other =
                        SegmentRecord { min_key: only.0, max_key: only.1, ..SegmentRecord::default() };
                    assert!(record.overlaps(&other) && other.overlaps(&record));
                }
            }
        }
    }

    #[test]
    fn bounds_of_long_keys_still_tell_them_apart() {
        let of = |first: u8| {
            let key = vec![first; 1 << 20];
            SegmentRecord { min_key: lower(&key), max_key: upper(&key), ..SegmentRecord::default() }
        };
        let (seven, nine, last) = (of(7), of(9), of(0xFF));
        assert!(seven.is_below(&[8]) && !seven.may_hold(&[8]) && !seven.overlaps(&nine));
        assert!(!last.is_below(&[0xFF; 1000]) && !last.may_hold(&[0xFE; 1000]) && !last.overlaps(&nine));
    }
}
