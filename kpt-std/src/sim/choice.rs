//! The decisions of a run: who makes them, and what was decided.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use kpt_core::sim::Site;

use super::schedule::Step;

/// The number of ways of a site that are counted one by one.
const SHOWN: u32 = 64;

/// What may be decided. The first is what usually happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ways {
    /// Any but the first is a deviation.
    Named(&'static [&'static str]),
    /// This number of inputs, none of which is a deviation.
    Free(u32),
}

/// Who decides.
#[derive(Debug)]
pub(super) enum Driver {
    /// What usually happens, apart from these.
    Listed(Vec<Step>),
    /// Chance: one decision in `one_in` deviates. It depends on the seed and on what the decision is known by.
    Walk { seed: u64, one_in: u32 },
    /// The bytes of a fuzzer, and how many decisions go as usual before the first of them counts.
    Bytes { bytes: std::vec::IntoIter<u8>, gap: Option<u8> },
}

/// The ways that a search takes: all, or those that it was asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub(super) only: Vec<String>,
    pub(super) without: Vec<String>,
}

/// A decision that a run has met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met {
    /// The position of the site in [`Decisions::sites`], which is the same in all runs of a search.
    site: u32,
    who: u32,
    nth: u32,
    pub(super) ways: Ways,
    pub(super) took: u32,
    /// Of all that happened before.
    fingerprint: u64,
}

/// The decisions of a run. The sites and what was decided there are kept from run to run.
#[derive(Debug)]
pub(super) struct Decisions {
    driver: Driver,
    filter: Rc<Filter>,
    pub(super) met: Vec<Met>,
    counts: HashMap<u64, u32, BuildHasherDefault<KeyHasher>>,
    pub(super) sites: Vec<KnownSite>,
}

/// A site, and what was decided there in all schedules that were counted.
#[derive(Debug)]
pub(super) struct KnownSite {
    pub(super) name: &'static str,
    hash: u64,
    /// The ways of the last decision.
    last_ways: Option<Ways>,
    /// The names of all ways so far, with how often each was taken.
    pub(super) ways: Vec<(Cow<'static, str>, u64)>,
    pub(super) decisions: u64,
}

impl Decisions {
    pub(super) fn new(filter: Rc<Filter>) -> Self {
        Self {
            driver: Driver::Listed(Vec::new()),
            filter,
            met: Vec::new(),
            counts: HashMap::default(),
            sites: Vec::new(),
        }
    }

    /// Begins a run, in which `driver` decides.
    pub(super) fn begin(&mut self, driver: Driver) {
        self.driver = driver;
        self.met.clear();
        self.counts.clear();
    }

    /// Decides. `fingerprint` is that of all that happened before.
    pub(super) fn choose(&mut self, site: Site, ways: Ways, fingerprint: u64) -> u32 {
        if ways.len() < 2 {
            return 0;
        }
        let at = self.position(site.name, ways);
        let key = u64::from(at) << 32 | u64::from(site.who);
        let count = self.counts.entry(key).or_insert(0);
        let nth = *count;
        *count += 1;
        let mut met = Met { site: at, who: site.who, nth, ways, took: 0, fingerprint };
        met.took = self.decide(&met, site.one_in);
        self.met.push(met);
        met.took
    }

    fn decide(&mut self, met: &Met, one_in: u32) -> u32 {
        let site = &self.sites[met.site as usize];
        let took = match &mut self.driver {
            Driver::Listed(steps) => {
                let is_it = |step: &&Step| {
                    step.nth == met.nth && step.who == met.who && step.site == site.name
                };
                return steps.iter().find(is_it).map_or(0, |step| met.ways.find(&step.way));
            }
            Driver::Walk { seed, one_in: of_search } => {
                let known_by = [site.hash, u64::from(met.who) << 32 | u64::from(met.nth)];
                let number = known_by.into_iter().fold(*seed, |mixed, part| mix(mixed ^ mix(part)));
                met.ways.at_random(number, one_in.max(*of_search))
            }
            Driver::Bytes { bytes, gap } => met.ways.by_bytes(bytes, gap),
        };
        if took == 0 || self.allows(met, took) { took } else { 0 }
    }

    /// Returns whether the search takes this way. It takes all inputs.
    pub(super) fn allows(&self, met: &Met, way: u32) -> bool {
        let Ways::Named(names) = met.ways else { return true };
        self.filter.allows(self.sites[met.site as usize].name, names[way as usize])
    }

    /// Returns the deviation of taking another way at that decision.
    pub(super) fn step(&self, met: &Met, way: u32) -> Step {
        let site = Cow::Borrowed(self.sites[met.site as usize].name);
        Step { site, who: met.who, nth: met.nth, way: met.ways.name(way) }
    }

    /// Returns what was taken in `met` that is not the first way.
    pub(super) fn taken(&self, met: &[Met]) -> Vec<Step> {
        met.iter().filter(|met| met.took != 0).map(|met| self.step(met, met.took)).collect()
    }

    /// Returns the decision as text, without what was decided.
    pub(super) fn name(&self, met: &Met) -> String {
        format!("{}/{}#{}", self.sites[met.site as usize].name, met.who, met.nth)
    }

    /// Adds up what was decided.
    pub(super) fn count(&mut self, met: &[Met]) {
        for met in met {
            let site = &mut self.sites[met.site as usize];
            site.decisions += 1;
            if met.took != 0 {
                let name = met.ways.name(met.took);
                let way = site.ways.iter_mut().find(|(way, _)| *way == name);
                way.into_iter().for_each(|(_, times)| *times += 1);
            }
        }
    }

    /// Returns the position of the site of that name, which may be a new one.
    fn position(&mut self, name: &'static str, ways: Ways) -> u32 {
        // Equal names have one address nearly always.
        let is_same = |site: &KnownSite| std::ptr::eq(site.name, name);
        let known = self.sites.iter().position(is_same);
        let known = known.or_else(|| self.sites.iter().position(|site| site.name == name));
        let at = known.unwrap_or_else(|| {
            self.sites.push(KnownSite::new(name));
            self.sites.len() - 1
        });
        self.sites[at].offer(ways);
        at as u32
    }
}

impl Met {
    /// Returns whether this is the same decision after the same events, whatever was decided.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        (self.site, self.who, self.nth, self.fingerprint)
            == (other.site, other.who, other.nth, other.fingerprint)
            && self.ways.len() == other.ways.len()
    }

    pub(super) fn is_free(&self) -> bool {
        matches!(self.ways, Ways::Free(_))
    }
}

impl KnownSite {
    fn new(name: &'static str) -> Self {
        assert_is_name(name);
        let hash = name.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
        Self { name, hash, last_ways: None, ways: Vec::new(), decisions: 0 }
    }

    fn offer(&mut self, ways: Ways) {
        let is_known = match (self.last_ways, ways) {
            (Some(Ways::Named(last)), Ways::Named(now)) => std::ptr::eq(last, now),
            (last, now) => last == Some(now),
        };
        if is_known {
            return;
        }
        self.last_ways = Some(ways);
        for way in 0..ways.len().min(SHOWN) {
            let name = ways.name(way);
            if !self.ways.iter().any(|(known, _)| *known == name) {
                assert_is_name(&name);
                self.ways.push((name, 0));
            }
        }
    }
}

impl Ways {
    pub(super) fn len(self) -> u32 {
        match self {
            Self::Named(names) => names.len() as u32,
            Self::Free(count) => count,
        }
    }

    pub(super) fn name(self, way: u32) -> Cow<'static, str> {
        match self {
            Self::Named(names) => Cow::Borrowed(names[way as usize]),
            Self::Free(_) => Cow::Owned(way.to_string()),
        }
    }

    /// Returns the way of that name, and the usual one if there is none.
    fn find(self, name: &str) -> u32 {
        let found = match self {
            Self::Named(names) => {
                names.iter().position(|known| *known == name).map(|way| way as u32)
            }
            Self::Free(count) => name.parse().ok().filter(|way| *way < count),
        };
        found.unwrap_or(0)
    }

    fn at_random(self, number: u64, one_in: u32) -> u32 {
        let (high, low) = ((number >> 32) as u32, number as u32);
        match self {
            Self::Named(_) if !low.is_multiple_of(one_in.max(1)) => 0,
            Self::Named(names) => 1 + high % (names.len() as u32 - 1),
            Self::Free(count) => high % count,
        }
    }

    /// One byte is an input, or one deviation: five bits for the number of decisions that go as usual before it, and three
    /// for the way. With the number 31, there is no deviation after them.
    fn by_bytes(self, bytes: &mut std::vec::IntoIter<u8>, gap: &mut Option<u8>) -> u32 {
        let Self::Named(names) = self else {
            return bytes.next().map_or(0, |byte| u32::from(byte) % self.len());
        };
        let Some(next) = bytes.as_slice().first().copied() else { return 0 };
        let left = gap.unwrap_or(next >> 3);
        if left > 0 {
            *gap = Some(left - 1);
            return 0;
        }
        bytes.next();
        *gap = None;
        if next >> 3 == 31 { 0 } else { 1 + u32::from(next & 7) % (names.len() as u32 - 1) }
    }
}

impl Filter {
    fn allows(&self, site: &str, way: &str) -> bool {
        let names = |entry: &String| match entry.split_once('=') {
            Some((of, named)) => of == site && named == way,
            None => entry == site,
        };
        !self.without.iter().any(names) && (self.only.is_empty() || self.only.iter().any(names))
    }
}

/// Checks that a schedule with this name needs no quoting in a shell.
fn assert_is_name(name: &str) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    assert!(
        !name.is_empty() && name.chars().all(is_part),
        "{name:?} is not a name of a site or way: use letters, digits, '-', '_' and '.'"
    );
}

/// One step of SplitMix64 of Steele, Lea and Flood (OOPSLA 2014).
pub(super) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A hasher for keys that are one number.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0 ^ number);
    }
}
