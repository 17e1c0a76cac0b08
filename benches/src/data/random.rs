//! Random numbers that are the same on every machine.

/// Turns any number into one that looks random (SplitMix64).
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Turns a random number into one below `bound`.
pub(super) fn below(random: u64, bound: u64) -> u64 {
    // The high half of the product: close to even for the bounds here, which are far below 2^64.
    ((u128::from(random) * u128::from(bound)) >> 64) as u64
}

/// The numbers below `count` in random order.
pub(super) fn permutation(count: u64, seed: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..count).collect();
    for (position, bound) in (1..=count).enumerate().skip(1) {
        let other = usize::try_from(below(mix(seed ^ bound), bound)).unwrap_or_default();
        numbers.swap(position, other);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_holds_every_number_once_and_is_not_sorted() {
        let numbers = permutation(1000, 7);
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        let in_place = numbers.iter().zip(0..).filter(|&(&number, place)| number == place).count();
        assert!(in_place < 20, "{in_place} of 1000 stay in place");
        assert_ne!(numbers, permutation(1000, 8));
    }

    #[test]
    fn numbers_below_a_bound_reach_all_of_it() {
        let mut seen = [0; 10];
        (0..1000).for_each(|n| seen[usize::try_from(below(mix(n), 10)).unwrap()] += 1);
        assert!(seen.iter().all(|&count| count > 60), "{seen:?}");
    }
}
