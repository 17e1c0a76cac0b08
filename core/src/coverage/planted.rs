//! Wrong rules that tests plant, to see that they are caught.

/// A wrong rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(feature = "sql", test)),
    allow(dead_code, reason = "most are in code that reads conditions")
)]
pub(super) enum Bug {
    /// A value between two values of a column counts as the lower one.
    Rounded,
    /// `NOT IN` overlooks a null in its list.
    NullInList,
    /// What is left of a set after another is taken away overlooks nulls.
    NullLeft,
    /// NaN satisfies no comparison.
    NaN,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Whether this bug is planted in this thread.
#[inline]
pub(super) fn has(bug: Bug) -> bool {
    #[cfg(test)]
    return PLANTED.get() == Some(bug);
    #[cfg(not(test))]
    {
        let _ = bug;
        false
    }
}

/// Runs `work` with a wrong rule.
#[cfg(test)]
pub(super) fn with<T>(bug: Bug, work: impl FnOnce() -> T) -> T {
    PLANTED.set(Some(bug));
    let done = work();
    PLANTED.set(None);
    done
}
