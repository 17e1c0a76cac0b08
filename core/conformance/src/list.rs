//! Makes tests, and a table, from the list of behaviours.

use crate::{Outcome, Session};

/// Makes one `#[test]` of every behaviour, or of those of some classes: `instantiate!(opener)`,
/// `instantiate!(opener; base, sql)`. The opener is an expression that is evaluated in each test.
#[macro_export]
macro_rules! instantiate {
    ($opener:expr) => {
        $crate::instantiate!($opener; base, sql, following, following_sql);
    };
    ($opener:expr; $($class:ident),+) => {
        $(
            mod $class {
                use super::*;

                $crate::__behaviours!($class, __tests ($opener));
            }
        )+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    (($opener:expr) $($module:ident { $($name:ident)+ })*) => {
        $(
            mod $module {
                use super::*;

                $(
                    #[test]
                    fn $name() -> $crate::Outcome {
                        $crate::run(&$opener, $crate::$module::$name)
                    }
                )+
            }
        )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __entries {
    (($class:ident) $($module:ident { $($name:ident)+ })*) => {
        &[$($(
            $crate::Behaviour {
                class: stringify!($class),
                module: stringify!($module),
                name: stringify!($name),
                run: $crate::$module::$name,
            },
        )+)*]
    };
}

/// A behaviour, its class and its module.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// What it needs; see [`instantiate!`](crate::instantiate!).
    pub class: &'static str,
    /// The module that holds it.
    pub module: &'static str,
    /// Its name in the module.
    pub name: &'static str,
    /// The behaviour.
    pub run: fn(&mut Session<'_>) -> Outcome,
}

const BASE: &[Behaviour] = crate::__behaviours!(base, __entries(base));
const SQL: &[Behaviour] = crate::__behaviours!(sql, __entries(sql));
const FOLLOWING: &[Behaviour] = crate::__behaviours!(following, __entries(following));
const FOLLOWING_SQL: &[Behaviour] = crate::__behaviours!(following_sql, __entries(following_sql));

/// Every behaviour.
pub fn all() -> impl Iterator<Item = &'static Behaviour> {
    [BASE, SQL, FOLLOWING, FOLLOWING_SQL].into_iter().flatten()
}
