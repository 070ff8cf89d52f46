//! Rounds of all contestants in turns, and what they say.

use kpt_speed::contestants::median;

use crate::cases::{Base, Case, Work};
use crate::libraries::{ALL, Library};
use crate::side::Side;

/// Rounds of each contestant, after one that does not count.
const ROUNDS: usize = 15;
const ROUNDS_OF_TIMERS: usize = 7;

/// In nanoseconds.
const LONGEST_ROUND: f64 = 4e7;

/// As many operations as are enough to see what one takes.
const FEW: usize = 20;

/// What one library did in a case.
pub struct Outcome {
    pub library: Library,
    /// Or why it did nothing.
    pub figures: Result<Figures, String>,
}

/// What a library's rounds say.
#[derive(Clone, Copy)]
pub enum Figures {
    /// CPU time of one operation.
    Time {
        /// In nanoseconds.
        nanos: f64,
        /// What it is of the base, or of the nanoseconds if there is none.
        ratio: f64,
        /// Half of the ratios of single rounds lie so close together.
        spread: f64,
    },
    /// In microseconds, how late timers are, and how many are early.
    Late { median: f64, p99: f64, early: usize },
}

/// A contestant, and the one that it is compared with if that is its own.
struct Pair {
    side: Side,
    own: Option<Side>,
    rounds: Vec<f64>,
    own_rounds: Vec<f64>,
    late: Vec<i64>,
    /// How many operations a round has.
    times: usize,
}

impl Pair {
    fn start(index: usize, library: usize, case: &Case) -> Result<Self, String> {
        let side = Side::start([index, library, 0])?;
        let has_own = matches!(case.base, Base::Own(_));
        let own = if has_own { Some(Side::start([index, library, 1])?) } else { None };
        let (rounds, own_rounds, late) = (Vec::new(), Vec::new(), Vec::new());
        let mut this = Self { side, own, rounds, own_rounds, late, times: case.times };
        this.calibrate(case)?;
        Ok(this)
    }

    fn round(&mut self, case: &Case) -> Result<(), String> {
        if let Base::Lateness = case.base {
            self.late.extend(self.side.lateness(case.times)?);
            return Ok(());
        }
        self.rounds.push(self.side.run(self.times)?);
        if let Some(own) = &mut self.own {
            self.own_rounds.push(own.run(self.times)?);
        }
        Ok(())
    }

    /// Has rounds take no longer than they may, where an operation takes as long as all others together. By a round that
    /// does not count.
    fn calibrate(&mut self, case: &Case) -> Result<(), String> {
        if let Work::CancelAdd { .. } = case.work {
            let nanos = self.side.run(FEW)?;
            self.times = case.times.min((LONGEST_ROUND / nanos) as usize).max(FEW);
        }
        Ok(())
    }
}

/// Runs a case.
pub fn measure(index: usize, case: &Case) -> Vec<Outcome> {
    let start = |library| Pair::start(index, library, case);
    let mut pairs = Vec::from_iter((0..ALL.len()).map(start));
    // A round of timers takes a tenth of a second, whatever it does.
    let rounds = if let Work::Fire { .. } = case.work { ROUNDS_OF_TIMERS } else { ROUNDS };
    for _ in 0..=rounds {
        for pair in &mut pairs {
            if let Ok(Err(reason)) = pair.as_mut().map(|running| running.round(case)) {
                *pair = Err(reason);
            }
        }
    }
    let floor = pairs.first().and_then(|floor| floor.as_ref().ok());
    let floor = floor.map(|floor| floor.rounds.clone()).unwrap_or_default();
    let outcome = |(&library, pair): (_, Result<Pair, String>)| Outcome {
        library,
        figures: pair.map(|pair| figures(case, &pair, &floor)),
    };
    ALL.iter().zip(pairs).map(outcome).collect()
}

fn figures(case: &Case, pair: &Pair, floor: &[f64]) -> Figures {
    let nothing = vec![1.0; pair.rounds.len()];
    let base = match case.base {
        Base::Lateness => return lateness(pair.late.get(case.times..).unwrap_or_default()),
        Base::Floor => floor,
        Base::Own(_) => &pair.own_rounds,
        Base::Nothing => &nothing,
    };
    let counted = |rounds: &[f64]| rounds.get(1..).unwrap_or_default().to_vec();
    let (mut rounds, mut base) = (counted(&pair.rounds), counted(base));
    let mut ratios = Vec::from_iter(rounds.iter().zip(&base).map(|(round, base)| round / base));
    let (Some(nanos), Some(base)) = (median(&mut rounds), median(&mut base)) else {
        return Figures::Time { nanos: f64::NAN, ratio: f64::NAN, spread: f64::NAN };
    };
    let _ = median(&mut ratios);
    let spread = (ratios[ratios.len() * 3 / 4] - ratios[ratios.len() / 4]) / 2.0;
    Figures::Time { nanos, ratio: nanos / base, spread }
}

fn lateness(late: &[i64]) -> Figures {
    let mut late = late.to_vec();
    late.sort_unstable();
    let micros = |part: f64| {
        late.get((late.len() as f64 * part) as usize).map_or(f64::NAN, |nanos| *nanos as f64 / 1e3)
    };
    let early = late.iter().filter(|late| **late < 0).count();
    Figures::Late { median: micros(0.5), p99: micros(0.99), early }
}
