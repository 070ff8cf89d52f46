//! What is compared, and how good kpt is to be.

/// What a contestant does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Passes bytes on in a ring of pipes.
    Ring { pipes: usize, active: usize, is_on_select: bool },
    /// Passes a byte on that is there again at once, while it watches others where nothing comes.
    OneAmong { watched: usize, is_on_select: bool },
    /// Serves TCP clients that send all at once.
    Echo { clients: usize, bytes: usize },
    /// Answers one TCP client, in another OS thread, whose CPU time counts as well.
    PingPong { bytes: usize },
    /// Cancels a timer and adds another one.
    CancelAdd { pending: usize },
    /// Adds timers and runs until they have fired.
    Fire { timers: usize, is_on_select: bool },
}

/// What figures are compared with.
#[derive(Clone, Copy)]
pub enum Base {
    /// Those of the floor.
    Floor,
    /// The same library's with other work.
    Own(Work),
    /// None: they are nanoseconds.
    Nothing,
    /// None: they are how late timers are.
    Lateness,
}

/// How good kpt is to be.
#[derive(Clone, Copy)]
pub enum Limit {
    None,
    /// So many times the base.
    Ratio(f64),
    /// The same, and less than those that are loops.
    RatioAndAhead(f64),
    /// Not above the best of the others by more than the spread.
    Best,
    /// The median in microseconds, and never early.
    Late(f64),
    NeverEarly,
}

/// A plot of the picture, against how many there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Plot {
    Event,
    Timer,
}

pub struct Case {
    /// What it is in the table. Empty if it is only in the picture.
    pub name: String,
    pub work: Work,
    pub base: Base,
    pub limit: Limit,
    /// How many operations a round has.
    pub times: usize,
    pub plot: Option<(Plot, usize)>,
}

/// All of them, in the order of the table.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, work, base, limit, times| {
        cases.push(Case { name: name.to_owned(), work, base, limit, times, plot: None });
    };
    for (pipes, active) in [(10, 1), (100, 10), (1_000, 1), (1_000, 100), (9_950, 100)] {
        let work = Work::Ring { pipes, active, is_on_select: false };
        let name = format!("{} pipes, {active} active", grouped(pipes));
        add(&name, work, Base::Floor, Limit::RatioAndAhead(1.05), 20_000);
    }
    for (pipes, active, limit) in [(10, 1, 1.1), (100, 10, 1.08), (400, 40, 1.05)] {
        let work = Work::Ring { pipes, active, is_on_select: true };
        let name = format!("{pipes} pipes, {active} active, on select");
        add(&name, work, Base::Floor, Limit::Ratio(limit), 20_000);
    }
    let (few, many) = (10, 1_000);
    let one_among = |watched| Work::OneAmong { watched, is_on_select: false };
    let name = format!("1 active of {}, beside 1 of {few}", grouped(many));
    add(&name, one_among(many), Base::Own(one_among(few)), Limit::Ratio(1.05), 20_000);
    let echo = Work::Echo { clients: 50, bytes: 1_024 };
    add("echo to 50 TCP clients, 1 KiB", echo, Base::Floor, Limit::Best, 10_000);
    let ping_pong = Work::PingPong { bytes: 64 };
    add("ping-pong over TCP, beside blocking", ping_pong, Base::Floor, Limit::Ratio(1.06), 10_000);
    let fire = |timers, is_on_select| Work::Fire { timers, is_on_select };
    add("add and fire 100,000 timers", fire(100_000, false), Base::Nothing, Limit::None, 100_000);
    let timers = 1_000;
    add("1,000 timers: late", fire(timers, false), Base::Lateness, Limit::Late(35.0), timers);
    let on_select = "1,000 timers: late, on select";
    add(on_select, fire(timers, true), Base::Lateness, Limit::NeverEarly, timers);
    plots(&mut cases);
    cases
}

fn plots(cases: &mut Vec<Case>) {
    for count in (1..=6).map(|power| 10_usize.pow(power)) {
        let is_row = matches!(count, 1_000 | 1_000_000);
        let name = format!("cancel and add a timer, {} pending", grouped(count));
        let name = if is_row { name } else { String::new() };
        let timer = (name, Work::CancelAdd { pending: count }, Plot::Timer);
        let event = Work::OneAmong { watched: count, is_on_select: false };
        for (name, work, plot) in [timer, (String::new(), event, Plot::Event)] {
            let (base, limit, plot) = (Base::Nothing, Limit::None, Some((plot, count)));
            cases.push(Case { name, work, base, limit, times: 20_000, plot });
        }
    }
}

/// With a comma behind thousands.
fn grouped(count: usize) -> String {
    match count {
        0..1_000 => count.to_string(),
        _ => format!("{},{:03}", grouped(count / 1_000), count % 1_000),
    }
}
