//! Where simulated decisions come from.

use heapless::Vec;

use super::schedule::{Deviation, ScheduleError, deviations};

/// The number of pairs of site and `who` that are counted one by one. Further ones share one count.
const COUNTED: usize = 128;

/// A place in a simulator that decides.
///
/// Three things identify a decision: the name of the site, what it is about (`who`), and the number of earlier decisions
/// with the same two. So one decision more or less at a site, or about a source, renames no decision about another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Site {
    /// Its name: ASCII letters, digits, `-`, `_` and `.`, so that a schedule needs no quoting in a shell.
    pub name: &'static str,
    /// The source, connection or task that the decision is about, and 0 if it is about none.
    pub who: u32,
    /// Where chance decides, one in this number of decisions deviates. 0 means 1.
    pub one_in: u32,
}

impl Site {
    /// Creates the description of a site.
    pub const fn new(name: &'static str, who: u32, one_in: u32) -> Self {
        Self { name, who, one_in }
    }
}

/// The origin of all decisions of a simulator.
pub trait Choices {
    /// Decides on one of `ways`, and returns its index. The first is what usually happens, and the others are
    /// deviations. Their names consist of the same characters as that of a [`Site`]. Callers take an index that is too
    /// large as 0.
    fn decide(&mut self, site: Site, ways: &'static [&'static str]) -> usize;
}

impl<C: Choices + ?Sized> Choices for &mut C {
    fn decide(&mut self, site: Site, ways: &'static [&'static str]) -> usize {
        (**self).decide(site, ways)
    }
}

/// Decisions by chance. Each depends only on the seed and on what identifies the decision (see [`Site`]).
///
/// Up to 128 pairs of site and `who` are counted one by one, and further ones together.
#[derive(Clone, Debug)]
pub struct Seed {
    seed: u64,
    counts: Counts,
}

impl Seed {
    /// Creates the decisions of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed, counts: Counts::new() }
    }
}

impl Choices for Seed {
    fn decide(&mut self, site: Site, ways: &'static [&'static str]) -> usize {
        let nth = self.counts.next(site);
        let deviations = (ways.len() as u32).saturating_sub(1);
        let known_by = [hash(site.name), u64::from(site.who), u64::from(nth)];
        let number = known_by.into_iter().fold(self.seed, |mixed, part| mix(mixed ^ mix(part)));
        let (high, low) = ((number >> 32) as u32, number as u32);
        if deviations == 0 || below(site.one_in, low) != 0 {
            return 0;
        }
        (below(deviations, high) as usize).saturating_add(1)
    }
}

/// Decisions as usual, apart from the deviations of a schedule.
///
/// A schedule is text, such as `event/3#0=twice wait/0#5=interrupted`: see [`Deviation`]. Any deviation can be removed, and
/// the others keep their meaning. A deviation whose decision is never made has no effect. The cost of a decision is
/// proportional to the length of the text.
///
/// Up to 128 pairs of site and `who` are counted one by one, and further ones together.
///
/// ```
/// use kpt_core::sim::{Choices, Listed, Site};
///
/// let mut choices = Listed::new("packet/7#1=lost")?;
/// let mut packet_to = |who| choices.decide(Site::new("packet", who, 1), &["on-time", "lost", "twice"]);
/// assert_eq!([packet_to(7), packet_to(8), packet_to(7), packet_to(8)], [0, 0, 1, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Listed<'a> {
    schedule: &'a str,
    counts: Counts,
}

impl<'a> Listed<'a> {
    /// Creates the decisions of `schedule`.
    ///
    /// # Errors
    /// Returns a [`ScheduleError`] with the first place at which the text is not a schedule.
    pub fn new(schedule: &'a str) -> Result<Self, ScheduleError> {
        for deviation in deviations(schedule) {
            deviation?;
        }
        Ok(Self { schedule, counts: Counts::new() })
    }
}

impl Choices for Listed<'_> {
    fn decide(&mut self, site: Site, ways: &'static [&'static str]) -> usize {
        let nth = self.counts.next(site);
        let is_it =
            |it: &Deviation<'_>| it.nth == nth && it.who == site.who && it.site == site.name;
        let listed = deviations(self.schedule).flatten().find(is_it);
        let way = listed.and_then(|it| ways.iter().position(|way| *way == it.way));
        way.unwrap_or(0)
    }
}

/// The number of decisions so far, for each pair of site and `who`.
#[derive(Clone, Debug)]
struct Counts {
    counts: Vec<(&'static str, u32, u32), COUNTED>,
    /// The number of decisions of all other pairs.
    others: u32,
}

impl Counts {
    const fn new() -> Self {
        Self { counts: Vec::new(), others: 0 }
    }

    /// Counts a decision. Returns how many there were before.
    fn next(&mut self, site: Site) -> u32 {
        let known =
            self.counts.iter_mut().find(|(name, who, _)| *who == site.who && *name == site.name);
        let count = match known {
            Some((_, _, count)) => count,
            None => match self.counts.push((site.name, site.who, 1)) {
                Ok(()) => return 0,
                Err(_) => &mut self.others,
            },
        };
        let before = *count;
        *count = count.wrapping_add(1);
        before
    }
}

/// Returns a number below `bound` (0 means 1) that is as evenly spread as `number` is.
fn below(bound: u32, number: u32) -> u32 {
    (u64::from(number).wrapping_mul(u64::from(bound.max(1))) >> 32) as u32
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// One step of SplitMix64 of Steele, Lea and Flood (OOPSLA 2014).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
