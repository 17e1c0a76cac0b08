//! Names that a search pattern of SQL matches.

/// Whether a name matches a pattern, in which `%` stands for any text and `_` for any sign. Every name matches no pattern at all.
pub(super) fn matches(name: &str, pattern: Option<&str>) -> bool {
    pattern.is_none_or(|pattern| {
        let (name, pattern): (Vec<char>, Vec<char>) = (name.chars().collect(), pattern.chars().collect());
        is_like(&name, &pattern)
    })
}

fn is_like(name: &[char], pattern: &[char]) -> bool {
    // Where the last `%` was, and up to where it stands for the name.
    let (mut at, mut wanted, mut last) = (0, 0, None);
    while at < name.len() {
        match pattern.get(wanted) {
            Some('%') => {
                last = Some((wanted, at));
                wanted += 1;
            }
            Some(sign) if *sign == '_' || name.get(at) == Some(sign) => (at, wanted) = (at + 1, wanted + 1),
            _ => match last {
                // It stands for one sign more.
                Some((percent, from)) => {
                    (wanted, at) = (percent + 1, from + 1);
                    last = Some((percent, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(wanted).all(|sign| *sign == '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_like_does() {
        for (name, pattern) in [
            ("flights", "flights"),
            ("flights", "%"),
            ("flights", "fl%s"),
            ("flights", "%ight%"),
            ("flights", "_lights"),
            ("flights", "%_%t_"),
            ("", "%"),
            ("", ""),
            ("aab", "%ab"),
            ("ä_", "__"),
        ] {
            assert!(matches(name, Some(pattern)), "{name} {pattern}");
        }
        for (name, pattern) in [
            ("flights", ""),
            ("flights", "flight"),
            ("flights", "Flights"),
            ("flights", "_"),
            ("flights", "%x%"),
            ("", "_"),
            ("aab", "%aa"),
        ] {
            assert!(!matches(name, Some(pattern)), "{name} {pattern}");
        }
        assert!(matches("anything", None));
    }
}
