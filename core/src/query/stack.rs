//! Enough stack for work that recurses as deep as a statement is nested.

/// Stack that work takes for the smallest statement, in a build without optimisation.
pub(super) const BASE_STACK: usize = 1 << 20;

/// How much stack the work for one statement takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack {
    bytes: usize,
}

impl Stack {
    /// The stack for a statement that takes this much more than every statement takes.
    pub(super) fn of(bytes: usize) -> Self {
        Self { bytes: BASE_STACK + bytes }
    }

    /// Runs `work` with that much stack: here if there is enough, otherwise on a stack made for it.
    pub(super) fn run<T>(self, work: impl FnOnce() -> T) -> T {
        stacker::maybe_grow(self.bytes, self.bytes + BASE_STACK, work)
    }
}
