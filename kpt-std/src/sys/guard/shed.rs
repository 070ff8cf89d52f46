//! Gives back the memory that a guard has inherited: while both have a page, the parent copies it when it writes to it.
//!
//! Only pages of large anonymous mappings are given back, and the mappings stay: reading from such a page gives zeros,
//! where reading from a mapping that is gone would end the process. The guard uses its stack, and what the C library has
//! for its thread, which may lie in such a mapping.

use std::ops::Range;

use super::calls::{self, File};
use super::proc::number;

/// The size from which a mapping counts as large: giving back smaller ones brings less than it costs.
const LARGE: usize = 64 << 10;

/// The number of pages that are kept on each side of a page that is used. What the C library has for its thread is
/// smaller.
const PAGES_NEAR: usize = 4;

/// The number of mappings that are given back at most.
const MOST: usize = 128;

/// What the path of a program has that runs this one, and has its own memory between that of this one.
const HOST: &[u8] = b"/valgrind/";

/// The size from which memory is that of a sanitizer, which the program's code uses at each step.
const SHADOW: u64 = 1 << 40;

/// Finds large mappings without a file. Leaves out stacks, and what lies right behind a file: `.bss`.
#[derive(Debug, Default)]
struct Finder {
    /// Where the last mapping of a file ended.
    end_of_file: usize,
    /// Whether valgrind runs this program, or a sanitizer is part of it.
    has_host: bool,
}

/// Gives back what the guard does not use. Without `/proc`, it keeps all.
pub fn give_back_memory() {
    const NONE: Range<usize> = 0..0;
    let mut found = [NONE; MOST];
    let mut places = found.iter_mut();
    let mut finder = Finder::default();
    for_each_mapping(|line| {
        if let Some(mapping) = finder.large(line)
            && let Some(place) = places.next()
        {
            *place = mapping;
        }
    });
    if finder.has_host {
        return;
    }
    let used = calls::used_addresses().map(|address| neighbourhood(address, calls::page_size()));
    for mapping in found {
        parts_to_give_back(mapping, used.clone()).into_iter().for_each(calls::give_back);
    }
}

/// Calls `work` with each line of `/proc/self/maps`.
fn for_each_mapping(mut work: impl FnMut(&[u8])) {
    let Some(maps) = File::open(c"/proc/self/maps") else { return };
    let mut buffer = [0; 4_096];
    let mut length = 0_usize;
    loop {
        let room = buffer.get_mut(length..).unwrap_or_default();
        let count = maps.read(room).len();
        length = length.saturating_add(count);
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, next) = rest.split_at(end);
            work(line);
            rest = next.get(1..).unwrap_or_default();
        }
        // The end of the file, or a line that is too long.
        if count == 0 {
            return;
        }
        let kept = rest.len();
        buffer.copy_within(length.saturating_sub(kept)..length, 0);
        length = kept;
    }
}

impl Finder {
    /// Returns the mapping of a line of `/proc/self/maps` if it is large and may be given back.
    fn large(&mut self, line: &[u8]) -> Option<Range<usize>> {
        let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        let mut ends = words.next()?.split(|&byte| byte == b'-');
        let mut address = || usize::try_from(number(ends.next()?, 16)?).ok();
        let (start, end) = (address()?, address()?);
        let size = end.saturating_sub(start);
        let access = words.next()?;
        let is_private = access.get(3) == Some(&b'p');
        let has_file = words.nth(2)? != b"0";
        let name = words.next().unwrap_or_default();
        // What is only reserved can't be read.
        let is_shadow = access.starts_with(b"rw") && size as u64 >= SHADOW;
        self.has_host |= is_shadow || name.windows(HOST.len()).any(|part| part == HOST);
        let is_behind_file = start == self.end_of_file;
        if has_file || is_behind_file {
            self.end_of_file = end;
            return None;
        }
        let is_special = name.starts_with(b"[stack") || name.starts_with(b"[v");
        let is_large = size >= LARGE;
        (is_private && is_large && !is_special).then_some(start..end)
    }
}

/// Returns the parts of a mapping that are not in one of the ranges that stay, which are sorted by where they start.
fn parts_to_give_back(mapping: Range<usize>, kept: [Range<usize>; 3]) -> [Range<usize>; 4] {
    let mut start = mapping.start;
    let mut until = |kept: Range<usize>| {
        let part = start..kept.start.min(mapping.end).max(start);
        start = start.max(kept.end.min(mapping.end));
        part
    };
    let [first, second, third] = kept;
    [until(first), until(second), until(third), until(usize::MAX..usize::MAX)]
}

/// Returns what stays around an address: whole pages. The size of a page is a power of two.
fn neighbourhood(address: usize, page: usize) -> Range<usize> {
    let near = page.saturating_mul(PAGES_NEAR);
    let page_of = |address: usize| address & !page.saturating_sub(1);
    page_of(address.saturating_sub(near))
        ..page_of(address.saturating_add(near).saturating_add(page))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0c0000000-55d0c0200000 rw-p 00000000 fe:00 4321                       /usr/bin/large file
55d0c0200000-55d0c0800000 rw-p 00000000 00:00 0 
55d0c1000000-55d0c2000000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0020000000 rw-p 00000000 00:00 0 
7f0020000000-7f002000f000 rw-p 00000000 00:00 0 
7f0030000000-7f0040000000 rw-s 00000000 00:01 99                         /dev/zero (deleted)
7f0050000000-7f0060000000 r--p 00000000 00:00 0                          [anon:some name]
7ffd00000000-7ffd00800000 rw-p 00000000 00:00 0                          [stack]
7ffd00900000-7ffd00b00000 r--p 00000000 00:00 0                          [vvar]
";

    #[test]
    fn only_large_private_mappings_without_a_file_are_given_back() {
        let mut finder = Finder::default();
        let found: Vec<_> = MAPS.lines().filter_map(|line| finder.large(line.as_bytes())).collect();
        let expected = [
            0x55d0_c100_0000..0x55d0_c200_0000,
            0x7f00_0000_0000..0x7f00_2000_0000,
            0x7f00_5000_0000..0x7f00_6000_0000,
        ];
        assert_eq!(found, expected);
        assert!(!finder.has_host);
        assert_eq!(finder.large(b"nonsense"), None);
        assert_eq!(finder.large(b""), None);
    }

    /// Their memory would be gone under them, and so would the guard.
    #[test]
    fn r46_under_valgrind_and_with_a_sanitizer_nothing_is_given_back() {
        let has_host = |line: &str| {
            let mut finder = Finder::default();
            let _ = finder.large(line.as_bytes());
            finder.has_host
        };
        assert!(has_host(
            "58000000-58200000 r-xp 00000000 fe:00 77    /usr/libexec/valgrind/memcheck-amd64-linux"
        ));
        assert!(has_host("02008fff7000-10007fff8000 rw-p 00000000 00:00 0 "));
        assert!(!has_host("02008fff7000-10007fff8000 ---p 00000000 00:00 0 "));
    }

    #[test]
    fn what_is_near_an_address_that_is_used_stays() {
        const M: usize = 1 << 20;
        const PAGE: usize = 16 << 10;
        let mapping = 100 * M..200 * M;
        for used in [
            [0, 0, 0],
            [100 * M, 100 * M + 5, 101 * M],
            [150 * M, 150 * M, 150 * M + 700_000],
            [99 * M, 199 * M, 200 * M - 1],
            [M, 300 * M, usize::MAX],
        ] {
            let kept = used.map(|used| neighbourhood(used, PAGE));
            let parts = parts_to_give_back(mapping.clone(), kept);
            let is_given = |address| parts.iter().any(|part| part.contains(&address));
            for address in (98 * M..202 * M).step_by(4_096) {
                let is_near = used.iter().any(|used| used.abs_diff(address) < 4 * PAGE);
                let is_far = used.iter().all(|used| used.abs_diff(address) >= 6 * PAGE);
                assert!(!(is_near && is_given(address)), "{used:x?} {address:x}");
                assert!(mapping.contains(&address) || !is_given(address), "{used:x?} {address:x}");
                assert!(
                    is_given(address) || !is_far || !mapping.contains(&address),
                    "{used:x?} {address:x}"
                );
            }
            for part in parts {
                assert!(part.start <= part.end && part.start % PAGE == 0);
            }
        }
    }
}
