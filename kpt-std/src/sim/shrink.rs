//! A shorter schedule that fails as well.

/// The largest number of runs that are spent on a shorter schedule.
const RUNS: u32 = 5_000;

/// The length up to which pairs are removed from a list, too.
const PAIRED: usize = 8;

/// Removes from `list` what it fails without: halves, quarters, single elements, and at last pairs.
///
/// `fails` returns `None` if a list does not fail as `list` does, and otherwise its elements that had an effect.
pub(super) fn shrink<T: Clone>(
    list: Vec<T>,
    mut fails: impl FnMut(&[T]) -> Option<Vec<T>>,
) -> Vec<T> {
    let mut runs = 0;
    let mut fails = |list: &[T]| {
        runs += 1;
        if runs > RUNS { None } else { fails(list) }
    };
    let mut list = list;
    loop {
        remove_parts(&mut list, &mut fails);
        if list.len() > PAIRED || !remove_pair(&mut list, &mut fails) {
            return list;
        }
    }
}

fn remove_parts<T: Clone>(list: &mut Vec<T>, fails: &mut impl FnMut(&[T]) -> Option<Vec<T>>) {
    let mut size = list.len();
    while size > 0 {
        let (mut at, mut has_shrunk) = (0, false);
        while at < list.len() {
            let end = (at + size).min(list.len());
            let fewer = [&list[..at], &list[end..]].concat();
            match fails(&fewer) {
                Some(counted) => (*list, has_shrunk) = (counted, true),
                None => at += size,
            }
        }
        // Without one element, another one may be needless.
        size = if size == 1 && has_shrunk { 1 } else { size / 2 };
    }
}

/// Removes a pair without which the list fails. Returns whether there was one.
fn remove_pair<T: Clone>(
    list: &mut Vec<T>,
    fails: &mut impl FnMut(&[T]) -> Option<Vec<T>>,
) -> bool {
    for one in 0..list.len() {
        for other in 0..one {
            let mut fewer = list.clone();
            fewer.remove(one);
            fewer.remove(other);
            if let Some(counted) = fails(&fewer) {
                *list = counted;
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::shrink;

    fn has_all(list: &[u32], wanted: &[u32]) -> bool {
        wanted.iter().all(|wanted| list.contains(wanted))
    }

    #[test]
    fn what_is_needed_is_left() {
        for wanted in [&[][..], &[0], &[99], &[3, 40, 41, 77], &[0, 1, 2, 3, 4]] {
            let fails = |list: &[u32]| has_all(list, wanted).then(|| list.to_vec());
            assert_eq!(shrink((0..100).collect(), fails), wanted);
        }
    }

    #[test]
    fn a_pair_that_is_needed_by_each_other_goes() {
        // With one of 7 and 8 but not the other, something else happens.
        let fails = |list: &[u32]| {
            let is_even = list.contains(&7) == list.contains(&8);
            (has_all(list, &[50]) && is_even).then(|| list.to_vec())
        };
        assert_eq!(shrink((0..100).collect(), fails), [50]);
    }

    #[test]
    fn what_has_not_counted_goes_at_once() {
        let mut runs = 0;
        let fails = |list: &[u32]| {
            runs += 1;
            has_all(list, &[5]).then(|| vec![5])
        };
        assert_eq!(shrink((0..1_000).collect(), fails), [5]);
        assert!(runs < 20, "{runs} runs");
    }
}
