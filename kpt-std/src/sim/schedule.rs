//! Schedules: the deviations of a run from what usually happens.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use kpt_core::sim::{Deviation, ScheduleError, deviations};

/// The deviations of a run from what usually happens, as text: `packet/1000#0=twice write/1#3=not-yet`. The text needs
/// no quoting.
///
/// A schedule without one of its deviations is still a schedule, and the others stay what they were: each is known by
/// its site, by whom it is about, and by how many such decisions there were before.
///
/// ```
/// use kpt_std::sim::Schedule;
///
/// let schedule: Schedule = "packet/1000#0=twice write/1#3=not-yet".parse()?;
/// assert_eq!(schedule.len(), 2);
/// assert_eq!(schedule.deviations().last().map(|it| it.way), Some("not-yet"));
/// assert!("packet/1000=twice".parse::<Schedule>().is_err());
/// # Ok::<(), kpt_std::sim::ScheduleError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule(pub(super) Vec<Step>);

/// One deviation, as it is kept: names from the program are not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) site: Cow<'static, str>,
    pub(super) who: u32,
    pub(super) nth: u32,
    pub(super) way: Cow<'static, str>,
}

impl Schedule {
    /// Returns the number of deviations.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether everything goes as usual.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the deviations.
    pub fn deviations(&self) -> impl Iterator<Item = Deviation<'_>> {
        self.0.iter().map(Step::deviation)
    }
}

impl Step {
    pub(super) fn deviation(&self) -> Deviation<'_> {
        Deviation { site: &self.site, who: self.who, nth: self.nth, way: &self.way }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for deviation in self.deviations() {
            write!(f, "{gap}{deviation}")?;
            gap = " ";
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let own = |text: &str| Cow::Owned(text.to_owned());
        let steps = deviations(text).map(|deviation| {
            let Deviation { site, who, nth, way } = deviation?;
            Ok(Step { site: own(site), who, nth, way: own(way) })
        });
        steps.collect::<Result<_, _>>().map(Self)
    }
}
