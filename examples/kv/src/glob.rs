//! Patterns of KEYS, SCAN and CONFIG GET.

/// Returns whether `text` is as `pattern` says: `*` is any bytes, `?` one, `[a-c]` one of these, `[^a-c]` any other, and
/// `\` takes the next one as it is.
///
/// Costs at most the product of both lengths, whatever a client thinks up: after a `*` that has been found too short,
/// those before it need not be looked at again.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Behind the last star, and the text that it has not taken yet.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            pattern = rest;
            star = Some((rest, text));
            continue;
        }
        let is_done = pattern.is_empty() && text.is_empty();
        let step = text.split_first().and_then(|(&byte, behind)| {
            let rest = match_one(pattern, byte)?;
            Some((rest, behind))
        });
        match (step, star) {
            _ if is_done => return true,
            (Some(both), _) => (pattern, text) = both,
            (None, Some((behind_star, [_, left @ ..]))) => {
                (pattern, text) = (behind_star, left);
                star = Some((behind_star, left));
            }
            (None, _) => return false,
        }
    }
}

/// Returns the pattern behind its first element, if that is what `byte` is.
fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => match_class(rest, byte),
        [b'\\', wanted, rest @ ..] | [wanted, rest @ ..] => (*wanted == byte).then_some(rest),
    }
}

/// Returns what is behind the class. One that is not closed ends with the pattern, as in Redis.
fn match_class(class: &[u8], byte: u8) -> Option<&[u8]> {
    let (is_negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut is_in = false;
    loop {
        let (first, last, rest) = match class {
            [] => break,
            [b']', rest @ ..] => {
                class = rest;
                break;
            }
            [b'\\', one, rest @ ..] => (*one, *one, rest),
            [first, b'-', last, rest @ ..] => (*first.min(last), *first.max(last), rest),
            [one, rest @ ..] => (*one, *one, rest),
        };
        is_in |= (first..=last).contains(&byte);
        class = rest;
    }
    (is_in != is_negated).then_some(class)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_those_of_redis() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*b*c", "axxbxxc", true),
            ("a*b*c", "axxbxx", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[c-a]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[abc", "c", true),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("\\", "\\", true),
            ("h[ae]llo*", "hallo there", true),
        ] {
            let found = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(found, expected, "{pattern:?} and {text:?}");
        }
    }

    #[test]
    fn a_hostile_pattern_costs_the_product_of_the_lengths() {
        let pattern = b"*a".repeat(1000);
        let text = vec![b'a'; 100_000];
        let start = std::time::Instant::now();
        assert!(matches(&pattern, &text));
        assert!(!matches(&[pattern, b"b".to_vec()].concat(), &text));
        assert!(start.elapsed().as_secs() < 10);
    }
}
