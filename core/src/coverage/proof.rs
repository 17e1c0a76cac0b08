//! The proof that one region is inside another.

use super::region::{Case, Region, is_within};
use super::set::Set;

/// The most pieces of a case that are looked at. A proof that would take more is not found.
const PIECES_MAX: usize = 1000;

impl Region {
    /// Whether each row of `asked` is one of these. `true` is certain; `false` may only mean that nobody could show it.
    pub(crate) fn includes(&self, asked: &Self) -> bool {
        asked.cases.iter().all(|case| self.includes_case(case))
    }

    fn includes_case(&self, case: &Case) -> bool {
        if self.cases.iter().any(|held| is_within(case, held)) {
            return true;
        }
        // Several cases may hold it together: what is left after each is taken away must be nothing.
        let (mut pieces, mut looked_at) = (vec![case.clone()], 0);
        for held in &self.cases {
            let mut left = Vec::new();
            for piece in pieces {
                subtract(piece, held, &mut left);
                looked_at += 1;
                if looked_at + left.len() > PIECES_MAX {
                    return false;
                }
            }
            pieces = left;
        }
        pieces.is_empty()
    }
}

/// Adds the rows of a case that are not in another, as cases that have no row in common.
///
/// Column by column: rows whose cell is outside of the other's set are left, whatever their other cells are; of the rest, whose cell is
/// inside, the next column decides. What is inside in all columns is taken away.
fn subtract(mut piece: Case, other: &Case, left: &mut Vec<Case>) {
    for (column, set) in other {
        let own = piece.get(column).cloned().unwrap_or_else(Set::all);
        let outside = own.subtract(set);
        let inside = own.intersect(set);
        if inside.is_empty() {
            // No row of the piece is in the other.
            left.push(piece);
            return;
        }
        if !outside.is_empty() {
            let mut rows = piece.clone();
            rows.insert(column.clone(), outside);
            left.push(rows);
        }
        piece.insert(column.clone(), inside);
    }
}
