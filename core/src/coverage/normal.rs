//! Conditions as regions: a list of cases, each a set for each column.

use super::compare::Comparison;
use super::domain::Domain;
use super::planted::{self, Bug};
use super::predicate::Predicate;
use super::region::{Case, Domains, Region, is_within};
use super::set::Set;
use crate::types::value::Value;

/// The most cases of a region. A condition of more is not understood: as a filter it restricts less than it says, and as a coverage
/// it is refused.
const CASES_MAX: usize = 64;
/// The most intervals of a column in a coverage. Filters may have more, such as those of a long list of keys.
const INTERVALS_MAX: usize = 1000;

/// Why a condition cannot be a coverage.
struct Refusal(String);

/// How a condition becomes a region.
struct Builder<'a> {
    domains: &'a Domains<'a>,
    /// Whether the region must be that of the condition, and not one around it.
    is_exact: bool,
}

impl Region {
    /// All rows that satisfy a filter, and maybe others.
    pub(crate) fn around(filter: &Predicate, domains: &Domains<'_>) -> Self {
        let builder = Builder { domains, is_exact: false };
        // The builder refuses nothing if it need not be exact; all rows would be right in any case.
        Self { cases: builder.cases(filter, false).unwrap_or_else(|_| vec![Case::new()]) }
    }

    /// The rows that satisfy the condition of a working set.
    ///
    /// # Errors
    /// What of the condition is not understood, in words.
    pub(crate) fn exactly(condition: &Predicate, domains: &Domains<'_>) -> Result<Self, String> {
        let builder = Builder { domains, is_exact: true };
        let mut cases = builder.cases(condition, false).map_err(|Refusal(reason)| reason)?;
        for case in &mut cases {
            for (column, set) in case.iter_mut() {
                if set.intervals().len() > INTERVALS_MAX {
                    return Err(format!("`{column}` is compared with more than {INTERVALS_MAX} values"));
                }
                // A column that has no nulls, or no NaN, satisfies a condition on these as well as not. So they count as part of
                // it, where a question that says nothing of the column would have to rule them out.
                let domain = domains(column);
                let (nullable, float) = domain.map_or((true, true), |it| (it.is_nullable(), it.is_float()));
                *set = std::mem::replace(set, Set::EMPTY).with_null(!nullable).with_nan(!float);
            }
            case.retain(|_, set| !set.is_all());
        }
        Ok(Self { cases })
    }
}

impl Builder<'_> {
    /// The cases in which a predicate is true, or false if it is `negated`. A row for which it is null is in neither: `NOT` leaves null
    /// null, and by the laws of De Morgan, which hold in three values too, it only has to be asked of single comparisons.
    fn cases(&self, predicate: &Predicate, negated: bool) -> Result<Vec<Case>, Refusal> {
        match predicate {
            Predicate::Constant(Some(value)) if *value != negated => Ok(vec![Case::new()]),
            Predicate::Constant(_) => Ok(Vec::new()),
            Predicate::Not(inner) => self.cases(inner, !negated),
            Predicate::And(parts) if negated => self.any(parts, negated),
            Predicate::And(parts) => self.all(parts, negated),
            Predicate::Or(parts) if negated => self.all(parts, negated),
            Predicate::Or(parts) => self.any(parts, negated),
            Predicate::Unknown => self.unknown("a part of it"),
            Predicate::Compare { column, operator, value } => {
                let operator = if negated { operator.opposite() } else { *operator };
                self.column(predicate, column, |domain| domain.set(operator, value))
            }
            // Nothing is one of no values, and that is never null.
            Predicate::In { values, .. } if values.is_empty() => {
                self.cases(&Predicate::Constant(Some(false)), negated)
            }
            Predicate::In { column, values } => self.column(predicate, column, |domain| {
                let equal = values.iter().map(|value| domain.set(Comparison::Equal, value));
                let equal = Set::union(equal.collect::<Option<Vec<_>>>()?);
                Some(match negated {
                    false => equal,
                    // Nothing is known to differ from a null.
                    true if values.contains(&Value::Null) && !planted::has(Bug::NullInList) => Set::EMPTY,
                    true if domain.is_float() => {
                        let others = values.iter().map(|value| domain.set(Comparison::NotEqual, value));
                        others
                            .collect::<Option<Vec<_>>>()?
                            .iter()
                            .fold(domain.not_null(), |a, b| a.intersect(b))
                    }
                    true => domain.not_null().subtract(&equal),
                })
            }),
            Predicate::IsNull { column } => self.column(predicate, column, |domain| {
                Some(if negated { domain.not_null() } else { Set::null() })
            }),
            Predicate::Prefix { column, prefix } => self.column(predicate, column, |domain| {
                let set = domain.prefix(prefix)?;
                Some(if negated { domain.not_null().subtract(&set) } else { set })
            }),
        }
    }

    fn column(
        &self,
        predicate: &Predicate,
        column: &str,
        set: impl FnOnce(&Domain) -> Option<Set>,
    ) -> Result<Vec<Case>, Refusal> {
        let Some(set) = (self.domains)(column).and_then(|domain| set(&domain)) else {
            return self.unknown(format_args!("`{predicate}`"));
        };
        Ok(if set.is_empty() { Vec::new() } else { vec![Case::from([(column.to_owned(), set)])] })
    }

    /// The rows that satisfy what nobody here understands: all of them.
    fn unknown(&self, what: impl std::fmt::Display) -> Result<Vec<Case>, Refusal> {
        if self.is_exact {
            return Err(Refusal(format!("{what} is not a comparison of a column with values of its type")));
        }
        Ok(vec![Case::new()])
    }

    /// Rows that satisfy all parts.
    fn all(&self, parts: &[Predicate], negated: bool) -> Result<Vec<Case>, Refusal> {
        let mut all = vec![Case::new()];
        for part in parts {
            let part = self.cases(part, negated)?;
            let mut both = Vec::new();
            for case in &all {
                for other in &part {
                    both.extend(intersect(case, other));
                }
            }
            let both = merge(both);
            if both.len() <= CASES_MAX {
                all = both;
            } else if self.is_exact {
                return Err(too_many());
            }
            // Otherwise this part is left out, which leaves more rows.
        }
        Ok(all)
    }

    /// Rows that satisfy any part. By halves, so that a long list of alternatives takes time by its length and not by its square.
    fn any(&self, parts: &[Predicate], negated: bool) -> Result<Vec<Case>, Refusal> {
        if let [part] = parts {
            return self.cases(part, negated);
        }
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let (first, second) = parts.split_at(parts.len() / 2);
        let mut cases = self.any(first, negated)?;
        cases.extend(self.any(second, negated)?);
        let cases = merge(cases);
        match cases.len() {
            ..=CASES_MAX => Ok(cases),
            _ if self.is_exact => Err(too_many()),
            _ => Ok(vec![Case::new()]),
        }
    }
}

fn too_many() -> Refusal {
    Refusal(format!("it has more than {CASES_MAX} alternatives"))
}

/// The rows of both cases; `None` if there are none.
fn intersect(a: &Case, b: &Case) -> Option<Case> {
    let mut both = a.clone();
    for (column, set) in b {
        let set = both.get(column).map_or_else(|| set.clone(), |held| held.intersect(set));
        if set.is_empty() {
            return None;
        }
        both.insert(column.clone(), set);
    }
    Some(both)
}

/// The same rows in fewer cases, where that is easy.
fn merge(cases: Vec<Case>) -> Vec<Case> {
    let mut merged: Vec<Case> = Vec::with_capacity(cases.len());
    for mut case in cases {
        // A case that grows may then be joined with another one.
        while let Some((at, both)) =
            merged.iter().enumerate().find_map(|(at, held)| Some((at, join(held, &case)?)))
        {
            merged.swap_remove(at);
            case = both;
        }
        merged.push(case);
    }
    merged
}

/// The rows of two cases as one case, if that is exact: one has all rows of the other, or they differ in a single column.
fn join(a: &Case, b: &Case) -> Option<Case> {
    if is_within(a, b) {
        return Some(b.clone());
    }
    if is_within(b, a) {
        return Some(a.clone());
    }
    if a.len() != b.len() {
        return None;
    }
    let mut differing = None;
    for ((column, set), (of_b, other)) in a.iter().zip(b) {
        if column != of_b || (set != other && differing.replace((column, other)).is_some()) {
            return None;
        }
    }
    let (column, other) = differing?;
    let mut both = a.clone();
    let set = both.get(column)?.unite(other);
    if set.is_all() {
        both.remove(column)
    } else {
        both.insert(column.clone(), set)
    };
    Some(both)
}
