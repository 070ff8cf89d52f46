//! What a guard reads in `/proc`, without memory of its own.

use std::ffi::CStr;

use super::calls::File;

/// Returns when a process was started, in clock ticks since the system's start; 0 if the system does not tell.
pub fn start_time(pid: i32) -> u64 {
    let mut path = [0; 32];
    write_path(&mut path, pid).map_or(0, start_time_in)
}

/// Returns when this process was started, as `start_time` does, also where `/proc` is that of another PID namespace.
pub fn own_start_time() -> u64 {
    start_time_in(c"/proc/self/stat")
}

fn start_time_in(path: &CStr) -> u64 {
    let mut bytes = [0; 1_024];
    let Some(file) = File::open(path) else { return 0 };
    parse_start_time(file.read(&mut bytes))
}

/// Writes `/proc/PID/stat` and a zero byte.
fn write_path(place: &mut [u8; 32], pid: i32) -> Option<&CStr> {
    let mut digits = [0; 10];
    let mut rest = u32::try_from(pid).ok()?;
    let mut count = 0_usize;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.saturating_add((rest % 10) as u8);
        rest /= 10;
        count = count.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    let digits = digits.get(digits.len().checked_sub(count)?..)?;
    let bytes = b"/proc/".iter().chain(digits).chain(b"/stat\0");
    place.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    CStr::from_bytes_until_nul(place).ok()
}

/// Finds field 22. The name, field 2, ends with the last parenthesis, and may have spaces itself.
fn parse_start_time(stat: &[u8]) -> u64 {
    let Some(end_of_name) = stat.iter().rposition(|&byte| byte == b')') else { return 0 };
    let fields = stat.get(end_of_name..).unwrap_or_default();
    let field = fields.split(|&byte| byte == b' ').nth(20);
    field.and_then(|field| number(field, 10)).unwrap_or(0)
}

/// Reads a number. `None` if there is anything but digits, or nothing.
pub fn number(digits: &[u8], base: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let add = |sum: u64, &digit: &u8| {
        let digit = char::from(digit).to_digit(base)?;
        sum.checked_mul(base.into())?.checked_add(digit.into())
    };
    digits.iter().try_fold(0, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_process_is_found_whatever_its_name() {
        let stat = b"12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21";
        assert_eq!(parse_start_time(stat), 777);
        assert_eq!(parse_start_time(b"12 (cut) S 1 2"), 0);
        assert_eq!(parse_start_time(b""), 0);
        assert_ne!(own_start_time(), 0);
        assert_eq!(start_time(std::process::id() as i32), own_start_time());
        assert_eq!(start_time(i32::MAX), 0);
        assert_eq!(start_time(-1), 0);
    }

    #[test]
    fn paths_have_all_digits() {
        for (pid, path) in
            [(0, "/proc/0/stat"), (9, "/proc/9/stat"), (i32::MAX, "/proc/2147483647/stat")]
        {
            let mut place = [0; 32];
            assert_eq!(write_path(&mut place, pid).unwrap().to_str(), Ok(path));
        }
    }
}
