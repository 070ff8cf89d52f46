//! Whether kpt is as good as it is to be.

use crate::cases::{Case, Limit};
use crate::libraries::Library;
use crate::measure::{Figures, Outcome};

/// Those that are loops, as kpt is: what is not here calls no hooks.
fn is_loop(library: Library) -> bool {
    !matches!(library, Library::Floor | Library::Kpt | Library::Mio | Library::Polling)
}

/// What was asked for, and whether that holds. Nothing where nothing was.
pub fn check(case: &Case, outcomes: &[Outcome]) -> Vec<(String, bool)> {
    if let Limit::None = case.limit {
        return Vec::new();
    }
    let of = |library| outcomes.iter().find(|outcome| outcome.library == library);
    let Some(Ok(kpt)) = of(Library::Kpt).map(|outcome| outcome.figures.as_ref()) else {
        return vec![("kpt takes part".to_owned(), false)];
    };
    match (case.limit, *kpt) {
        (Limit::Ratio(limit), Figures::Time { ratio, .. }) => vec![at_most(limit, ratio)],
        (Limit::RatioAndAhead(limit), Figures::Time { ratio, .. }) => {
            let best = best(outcomes, is_loop);
            let ahead = (format!("ahead of all loops: {}", said(&best)), ratio < best.0);
            vec![at_most(limit, ratio), ahead]
        }
        (Limit::Best, Figures::Time { ratio, spread, .. }) => {
            let best = best(outcomes, |other| !matches!(other, Library::Floor | Library::Kpt));
            vec![(format!("no more than the best: {}", said(&best)), ratio <= best.0 + spread)]
        }
        (Limit::Late(limit), Figures::Late { median, early, .. }) => vec![
            (format!("late by at most {limit} µs"), median <= limit),
            ("never early".to_owned(), early == 0),
        ],
        (Limit::NeverEarly, Figures::Late { early, .. }) => {
            vec![("never early".to_owned(), early == 0)]
        }
        _ => Vec::new(),
    }
}

fn at_most(limit: f64, ratio: f64) -> (String, bool) {
    (format!("at most {limit:.2}"), ratio <= limit)
}

fn said((ratio, name): &(f64, &str)) -> String {
    format!("{name}, {ratio:.2}")
}

/// The least ratio of some, and whose it is.
fn best(outcomes: &[Outcome], is_meant: impl Fn(Library) -> bool) -> (f64, &'static str) {
    let mut best = (f64::INFINITY, "nobody");
    for outcome in outcomes {
        if let Ok(Figures::Time { ratio, .. }) = outcome.figures
            && is_meant(outcome.library)
            && ratio < best.0
        {
            best = (ratio, outcome.library.name());
        }
    }
    best
}
