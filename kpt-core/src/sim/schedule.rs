//! Schedules as text.

use core::fmt;

use crate::decimal::Decimal;

/// One deviation of a schedule from what usually happens, as text: `packet/1000#0=twice` says that the first decision
/// (number 0) at the site `packet` about 1000 is `twice`.
///
/// A schedule is a list of deviations with spaces between them, in any order. It needs no quoting in a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Deviation<'a> {
    /// The name of the site.
    pub site: &'a str,
    /// The source, connection or task that the decision is about, and 0 if it is about none.
    pub who: u32,
    /// The number of decisions at this site about `who` before this one.
    pub nth: u32,
    /// The name of what is decided.
    pub way: &'a str,
}

/// The error of a text that is not a schedule: where, in bytes, and what should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ScheduleError {
    /// The name of a site should begin at this byte: letters, digits, `-`, `_` and `.`.
    Site(usize),
    /// `/` and a number should be at this byte: what the decision is about.
    Who(usize),
    /// `#` and a number should be at this byte: the number of earlier decisions at this site about the same.
    Nth(usize),
    /// `=` and a name should be at this byte, and then a space or the end: what is decided.
    Way(usize),
}

/// Returns the deviations of a schedule. Ends after the first error.
///
/// ```
/// use kpt_core::sim::{Deviation, ScheduleError, deviations};
///
/// let mut list = deviations("write/1#3=not-yet packet/1000=lost");
/// assert_eq!(list.next(), Some(Ok(Deviation { site: "write", who: 1, nth: 3, way: "not-yet" })));
/// assert_eq!(list.next(), Some(Err(ScheduleError::Nth(29))));
/// assert_eq!(list.next(), None);
/// ```
pub fn deviations(
    schedule: &str,
) -> impl Iterator<Item = Result<Deviation<'_>, ScheduleError>> + Clone {
    let mut rest = Rest { text: schedule, at: 0 };
    core::iter::from_fn(move || {
        rest.skip(|byte| byte.is_ascii_whitespace());
        if rest.text.is_empty() {
            return None;
        }
        let deviation = rest.deviation();
        if deviation.is_err() {
            rest.text = "";
        }
        Some(deviation)
    })
}

/// The part of a text that has not been read, and where it begins.
#[derive(Clone)]
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn deviation(&mut self) -> Result<Deviation<'a>, ScheduleError> {
        let site = self.name().ok_or(ScheduleError::Site(self.at))?;
        let who = self.number(b'/').ok_or(ScheduleError::Who(self.at))?;
        let nth = self.number(b'#').ok_or(ScheduleError::Nth(self.at))?;
        let start = self.at;
        let way = self.byte(b'=').and_then(|()| self.name()).ok_or(ScheduleError::Way(start))?;
        if self.text.bytes().next().is_some_and(|byte| !byte.is_ascii_whitespace()) {
            return Err(ScheduleError::Way(start));
        }
        Ok(Deviation { site, who, nth, way })
    }

    /// Takes the bytes of which `is_part` is true, which must be ASCII.
    fn skip(&mut self, is_part: impl Fn(u8) -> bool) -> &'a str {
        let len = self.text.bytes().take_while(|byte| is_part(*byte)).count();
        let taken = self.text.get(..len).unwrap_or_default();
        self.text = self.text.get(len..).unwrap_or_default();
        self.at = self.at.saturating_add(len);
        taken
    }

    fn byte(&mut self, wanted: u8) -> Option<()> {
        let rest = self.text.get(1..).filter(|_| self.text.bytes().next() == Some(wanted))?;
        self.text = rest;
        self.at = self.at.saturating_add(1);
        Some(())
    }

    fn name(&mut self) -> Option<&'a str> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        Some(self.skip(is_part)).filter(|name| !name.is_empty())
    }

    /// Takes `mark` and a number, or nothing.
    fn number(&mut self, mark: u8) -> Option<u32> {
        let before = self.clone();
        self.byte(mark)?;
        let digits = self.skip(|byte| byte.is_ascii_digit());
        let number = digits.bytes().try_fold(0_u32, |number, digit| {
            number.checked_mul(10)?.checked_add(u32::from(digit.wrapping_sub(b'0')))
        });
        let number = number.filter(|_| !digits.is_empty());
        if number.is_none() {
            *self = before;
        }
        number
    }
}

impl fmt::Display for Deviation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (who, nth) = (Decimal::new(self.who.into()), Decimal::new(self.nth.into()));
        for part in [self.site, "/", who.as_str(), "#", nth.as_str(), "=", self.way] {
            f.write_str(part)?;
        }
        Ok(())
    }
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, expected) = match *self {
            Self::Site(at) => (at, "the name of a site"),
            Self::Who(at) => (at, "'/' and a number"),
            Self::Nth(at) => (at, "'#' and a number"),
            Self::Way(at) => (at, "'=', a name, and then a space or the end"),
        };
        f.write_str("not a schedule: at byte ")?;
        f.write_str(Decimal::new(at as u64).as_str())?;
        f.write_str(" there should be ")?;
        f.write_str(expected)?;
        f.write_str(", as in packet/1000#0=twice")
    }
}

impl core::error::Error for ScheduleError {}
