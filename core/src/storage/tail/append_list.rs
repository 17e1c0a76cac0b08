//! A list that one thread appends to while others read what they know of.

use std::sync::OnceLock;

/// Length of the first chunk; each later one is twice as long.
const FIRST_CHUNK: usize = 64;
const CHUNKS: usize = 26;

/// Elements by number, each set once. Reads never wait.
#[derive(Debug)]
pub(super) struct AppendList<T> {
    chunks: [OnceLock<Box<[OnceLock<T>]>>; CHUNKS],
}

impl<T> Default for AppendList<T> {
    fn default() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS] }
    }
}

impl<T> AppendList<T> {
    /// Sets an element, unless it is set already: whoever sets a number sets it to the same value.
    pub(super) fn set(&self, number: usize, value: T) {
        let (chunk, index, len) = place(number);
        let chunk =
            self.chunks[chunk].get_or_init(|| std::iter::repeat_with(OnceLock::new).take(len).collect());
        let _ = chunk[index].set(value);
    }

    /// An element, if it was set.
    pub(super) fn get(&self, number: usize) -> Option<&T> {
        let (chunk, index, _) = place(number);
        self.chunks.get(chunk)?.get()?.get(index)?.get()
    }
}

/// Chunk of a number, index in it, and the chunk's length.
fn place(number: usize) -> (usize, usize, usize) {
    let position = number / FIRST_CHUNK + 1;
    let chunk = position.ilog2() as usize;
    let start = FIRST_CHUNK * ((1 << chunk) - 1);
    (chunk, number - start, FIRST_CHUNK << chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_place() {
        let list = AppendList::default();
        for number in 0..100_000 {
            assert_eq!(list.get(number), None);
            list.set(number, number);
            list.set(number, usize::MAX);
        }
        for number in 0..100_000 {
            assert_eq!(list.get(number), Some(&number));
        }
    }
}
