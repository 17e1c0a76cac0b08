//! A bug that tests plant in followers, to see that other tests notice it. Outside tests there is none.

/// Whether the follower of a source acknowledges what is not durable.
#[cfg(not(test))]
#[inline]
pub(super) const fn acknowledges_too_early(_source: &str) -> bool {
    false
}

#[cfg(test)]
pub(super) use planting::{acknowledges_too_early, plant};

#[cfg(test)]
mod planting {
    use parking_lot::Mutex;

    /// The sources whose followers have the bug. By name, because followers have threads of their own.
    static PLANTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

    pub(in super::super) fn plant(source: &str) {
        PLANTED.lock().push(source.to_owned());
    }

    pub(in super::super) fn acknowledges_too_early(source: &str) -> bool {
        PLANTED.lock().iter().any(|planted| planted == source)
    }
}
