//! What a source can do beyond fetching all of a relation.

/// Abilities of a source. What is not declared is not asked for.
///
/// ```
/// use pillion::source::Capabilities;
///
/// let capabilities = Capabilities { columns: true, marks: true, ..Capabilities::default() };
/// assert!(!capabilities.positions);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Lists its [relations](super::Source::relations).
    pub relations: bool,
    /// Sends only the [columns](super::Fetch::columns) that are asked for. Pillion drops the others otherwise.
    pub columns: bool,
    /// Sends only rows that satisfy a [condition](super::Fetch::condition) in its own words.
    pub conditions: bool,
    /// Sends only rows [after](super::Fetch::after) a value of a column.
    pub positions: bool,
    /// Sends only rows that have some [keys](super::Fetch::keys).
    pub keys: bool,
    /// Leaves out rows outside of [ranges](super::Fetch::ranges) where that spares it work, such as reading files whose statistics show
    /// that they have no others. It may send more rows than are wanted.
    pub ranges: bool,
    /// Gives a [mark](super::Description::mark) that changes whenever rows do.
    pub marks: bool,
    /// Describes the [parts](super::Description::parts) of a relation and fetches some of them. A refresh
    /// then fetches only the parts that changed, where rows show [which part](super::Part::values) they are of.
    pub parts: bool,
    /// Tells [when a relation changes](super::Source::watch).
    pub watch: bool,
    /// Says as of which moment of its own clock rows [were fetched](super::Fetched::as_of).
    pub clock: bool,
    /// Gives out [changes](super::Source::changes) of relations after a [snapshot](super::Source::snapshot), for tables that
    /// [follow](super::TableSource::changes) it.
    pub changes: bool,
    /// Answers [statements](super::Relation::statement) in this dialect of SQL, such as `"postgresql"`.
    pub dialect: Option<&'static str>,
}
