//! What one identity may do.

use std::fmt;

/// Stands for every table in a list of names.
const ALL: &str = "*";

/// Something that has to be permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Seeing that a table is there, its rows and its changes.
    Read,
    /// Changing the rows of a table.
    Write,
    /// Fetching a table from its source.
    Refresh,
    /// Seeing how the process stands.
    Administer,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Refresh, Self::Administer];
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Refresh => "refresh",
            Self::Administer => "administer",
        })
    }
}

/// Tables that a right extends to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tables {
    /// None.
    #[default]
    None,
    /// These, by their exact names, whether they exist or not.
    Named(Vec<String>),
    /// All, also those that are defined later.
    All,
}

impl Tables {
    /// The tables of a list of names, in which `*` stands for all.
    pub fn of<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        if names.iter().any(|name| name == ALL) {
            return Self::All;
        }
        if names.is_empty() { Self::None } else { Self::Named(names) }
    }

    /// Whether a table is among them.
    pub fn has(&self, table: &str) -> bool {
        match self {
            Self::None => false,
            Self::Named(names) => names.iter().any(|name| name == table),
            Self::All => true,
        }
    }
}

impl fmt::Display for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("nothing"),
            Self::Named(names) => f.write_str(&names.join(", ")),
            Self::All => f.write_str("all tables"),
        }
    }
}

/// What one identity may do. Nothing follows from anything else: who may write may not read unless told so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Tables whose rows may be read.
    pub read: Tables,
    /// Tables whose rows may be changed.
    pub write: Tables,
    /// Tables that may be fetched anew.
    pub refresh: Tables,
    /// Whether it may see how the process stands.
    pub administer: bool,
}

impl Permissions {
    /// Whether a right extends to a table; `None` stands for what belongs to no table, and of the rights over tables only
    /// one over all of them extends to that.
    pub fn allow(&self, right: Right, table: Option<&str>) -> bool {
        let tables = match right {
            Right::Read => &self.read,
            Right::Write => &self.write,
            Right::Refresh => &self.refresh,
            Right::Administer => return self.administer,
        };
        match table {
            Some(table) => tables.has(table),
            None => *tables == Tables::All,
        }
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read {}, write {}, refresh {}", self.read, self.write, self.refresh)?;
        if self.administer { f.write_str(", administer") } else { Ok(()) }
    }
}
