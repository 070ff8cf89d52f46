//! Every public operation of kpt-core, on both loops, two capacities and every geometry of a wheel, with inputs that the
//! compiler can't know. Without the feature `large`, where nothing stands between a hook and its table, on the small loop
//! alone.
//!
//! The panic handler calls a function that does not exist, so this links only if no panic is reachable. There is no
//! allocator either: the crate `alloc` would not compile without one, and `malloc` would not link. `./ci.sh no-panic`
//! tries that, and once more with each planted fault, which must not link.

#![no_std]

#[cfg(feature = "large")]
mod large;
mod tape;
mod zero;

use core::fmt::{self, Write};
use core::time::Duration;

use kpt_core::board::{Board, Buffer, Clock, Counter, LinePoller, Lines, Mailbox};
use kpt_core::sim::{Choices, Faults, Listed, Seed, SimPoller, Site, World, deviations};
use kpt_core::{
    AgainError, Exit, FixedLoop, Instant, Interest, Next, Readiness, Source, Thread, ThreadId,
    Threads, When,
    poller::{Filtered, HookCall, Poller, Ready, Unwatchable, Waiting},
};

// SAFETY: neither `unknown` nor `seen` has preconditions. The probe is linked and not run, so the linker is told an
// address for them; `kpt_core_can_panic` is defined nowhere on purpose.
unsafe extern "C" {
    /// A number that nobody knows when this is compiled.
    safe fn unknown() -> u64;
    /// Makes `value` matter.
    safe fn seen(value: u64);
    fn kpt_core_can_panic() -> !;
    #[cfg(feature = "planted-malloc")]
    safe fn malloc(size: usize) -> *mut u8;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: never called: a program in which it could be does not link.
    unsafe { kpt_core_can_panic() }
}

struct State<'a> {
    id: Option<ThreadId>,
    world: &'a World,
}

/// A poller that may say anything.
#[derive(Default)]
struct Outside;

impl Poller for Outside {
    type Error = u64;

    const LOOK_AFTER_HOOKS: u32 = 1_024;

    fn now(&mut self) -> Instant {
        Instant::from_micros(unknown())
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        seen(u64::from(source.number()) ^ u64::from(interest.is_readable()));
        if unknown() == 0 { Ok(()) } else { Err(Unwatchable) }
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, u64> {
        seen(until.as_micros());
        while unknown() != 0 {
            ready.push(Source::new(unknown() as u32), unknown_readiness());
            seen(u64::from(ready.ask(&mut unknown_answer)));
            let mut filtered = Filtered::new(ready, |source, readiness| {
                seen(u64::from(source.number()));
                if unknown() == 0 { unknown_readiness() } else { readiness }
            });
            let mut inner = Ready::new(&mut filtered);
            inner.push(Source::new(unknown() as u32), unknown_readiness());
            seen(u64::from(inner.ask(&mut unknown_answer)));
        }
        if unknown() == 0 { Ok(Instant::from_micros(unknown())) } else { Err(unknown()) }
    }

    fn before_hook(&mut self, call: HookCall) {
        seen(call.id.to_raw() ^ call.name.len() as u64 ^ call.due.as_micros() ^ call.kind as u64);
    }

    fn after_hook(&mut self) {
        seen(4);
    }
}

fn unknown_answer(source: Source, interest: Interest) -> Readiness {
    seen(u64::from(source.number()) ^ u64::from(interest.is_writable()));
    unknown_readiness()
}

/// Threads of no loop, for pollers alone.
struct Anybody;

impl Waiting for Anybody {
    fn push(&mut self, source: Source, readiness: Readiness) {
        seen(u64::from(source.number()) ^ u64::from(readiness.is_none()));
    }

    fn ask(&mut self, answer: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool {
        let readiness = answer(Source::new(unknown() as u32), unknown_interest());
        seen(u64::from(readiness.is_error()));
        unknown() == 0
    }
}

/// A board that may say anything.
struct OutsideBoard<const N: usize>(&'static Lines<N>);

impl<const N: usize> Board<N> for OutsideBoard<N> {
    const TICK_MICROS: u32 = 31;

    fn lines(&self) -> &'static Lines<N> {
        self.0
    }

    fn now(&mut self) -> Instant {
        Instant::from_micros(unknown())
    }

    fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool) {
        seen(until.as_micros() ^ u64::from(is_awake()));
    }
}

/// Where formatted text goes.
struct Sink;

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        seen(text.len() as u64);
        if unknown() == 0 { Ok(()) } else { Err(fmt::Error) }
    }
}

/// All that can be done with a loop of either kind.
macro_rules! exercise {
    ($new_loop:expr, $state:expr) => {{
        let (mut kpt, state) = ($new_loop, $state);
        while unknown() != 0 {
            use_threads(&mut kpt.threads(), state);
            match kpt.turn(state) {
                Ok(exit) => seen(exit.map_or(0, |exit| exit.as_str().len() as u64)),
                Err(_) => seen(1),
            }
            match kpt.poll(state) {
                Ok(next) => see_next(next),
                Err(_) => seen(2),
            }
        }
        match kpt.run(state) {
            Ok(exit) => seen(u64::from(write!(Sink, "{exit} {exit:?}").is_ok())),
            Err(_) => seen(3),
        }
        let _ = kpt.poller();
    }};
}

use exercise;

/// The static library's only entry.
#[unsafe(no_mangle)]
pub extern "C" fn probe() {
    let world = World::new();
    let mut state = State { id: None, world: &world };
    exercise!(FixedLoop::<_, _, 0, u32>::new(Outside), &mut state);
    exercise!(FixedLoop::<_, _, 2, u32>::new(Outside), &mut state);
    exercise!(FixedLoop::<_, _, 64, u32>::new(Outside), &mut state);
    exercise!(FixedLoop::<_, _, 2, u32>::new(LinePoller::new(OutsideBoard(&LINES))), &mut state);
    #[cfg(feature = "large")]
    large::exercise_all(&mut state);
    exercise_choices(&world);
    exercise_sim(&world);
    exercise_lines(&NO_LINES);
    exercise_lines(&LINES);
    exercise_lines(&MOST_LINES);
    exercise_clock::<1_000_000, 32>();
    exercise_clock::<32_768, 24>();
    exercise_clock::<12_500_000, 32>();
    exercise_clock::<3_999_999_000, 32>();
    exercise_mailbox();
    tape::exercise(&mut state);
    #[cfg(feature = "planted-index")]
    seen([1, 2, 3][unknown() as usize]);
    #[cfg(feature = "planted-malloc")]
    seen(malloc(unknown() as usize) as u64);
}

fn see_next(next: Next) {
    match next {
        Next::Again => seen(0),
        Next::Wait(until) => seen(until.as_micros()),
        Next::Exit(Exit::Empty) => seen(1),
        Next::Exit(Exit::Stopped) => seen(2),
    }
}

fn use_threads<'a>(threads: &mut Threads<'_, State<'a>, u32>, state: &mut State<'a>) {
    match threads.add("probe", unknown_when(), hook, unknown() as u32) {
        Ok(id) => state.id = Some(id),
        Err(error) => {
            let _ = write!(Sink, "{error} {error:?}");
            seen(u64::from(error.into_arg()));
        }
    }
    let source = Source::new(unknown() as u32);
    let _ = threads.add_read("read", source, hook, 1);
    let _ = threads.add_write("write", source, hook, 2);
    let _ = threads.add_timer("timer", unknown_duration(), hook, 3);
    let _ = threads.add_execute("execute", hook, 4);
    if let Some(id) = ThreadId::from_raw(unknown()).or(state.id) {
        let _ = write!(Sink, "{id} {id:?}");
        seen(id.to_raw());
        seen(
            threads
                .cancel(id)
                .map_or_else(|stale| u64::from(write!(Sink, "{stale}").is_ok()), u64::from),
        );
    }
    if let Some(id) = ThreadId::from_raw(unknown()).or(state.id)
        && let Err(error) = threads.reschedule(id, unknown_when())
    {
        let _ = write!(Sink, "{error} {error:?}");
    }
    let reserved =
        threads.add_with_reserve(unknown() as usize, "reserved", unknown_when(), hook, 5);
    seen(reserved.map_or_else(|error| u64::from(error.into_arg()), ThreadId::to_raw));
    seen(threads.vacant() as u64 ^ threads.turn_time().as_micros());
    seen(u64::from(threads.is_stopping()));
    let cancelled = threads.cancel_source(source);
    seen(u64::from(cancelled.reader.unwrap_or(0) ^ cancelled.writer.unwrap_or(0)));
    seen(threads.now().as_micros());
    seen((threads.len() ^ threads.capacity()) as u64 ^ u64::from(threads.is_empty()));
    let _ = write!(Sink, "{}", threads.reborrow().dump());
    let show = |arg: &u32, f: &mut fmt::Formatter<'_>| {
        seen(u64::from(*arg));
        f.write_str("argument")
    };
    let _ = write!(Sink, "{}", threads.dump_with(show));
    seen(threads.verify().map_or_else(|error| error.len() as u64, |()| 0));
    if unknown() == 0 {
        threads.stop();
    }
}

fn hook<'a>(state: &mut State<'a>, mut thread: Thread<'_, State<'a>, u32>) {
    seen(thread.id().to_raw() ^ thread.name().len() as u64 ^ thread.kind().as_str().len() as u64);
    seen(thread.deadline().map_or(0, Instant::as_micros));
    seen(thread.lateness().as_micros() as u64);
    seen(thread.source().map_or(0, |source| u64::from(source.number())));
    let _ = write!(Sink, "{}", thread.readiness());
    seen(state.world.now().as_micros());
    use_threads(&mut thread.threads(), state);
    match unknown() {
        0 => drop(thread.try_again().map_err(AgainError::into_arg)),
        1 => {
            if let Err(error) = thread.again_when(unknown_when()) {
                let _ = write!(Sink, "{error} {error:?}");
            }
        }
        2 => thread.again(),
        3 => thread.again_as(other_hook),
        4 => {
            let (arg, mut threads) = thread.end();
            seen(u64::from(arg));
            use_threads(&mut threads, state);
        }
        _ => {}
    }
}

fn other_hook<'a>(state: &mut State<'a>, thread: Thread<'_, State<'a>, u32>) {
    state.id = Some(thread.id());
    seen(u64::from(thread.arg));
    thread.again_as(hook);
}

static NO_LINES: Lines<0> = Lines::new();
static LINES: Lines<3> = Lines::new();
static MOST_LINES: Lines<32> = Lines::new();

fn exercise_lines<const N: usize>(lines: &'static Lines<N>) {
    let mut poller = LinePoller::new(OutsideBoard(lines));
    while unknown() != 0 {
        let line = Source::new(unknown() as u32);
        lines.set(line);
        seen(u64::from(lines.is_set(line)));
        lines.clear(Source::new(unknown() as u32));
        let _ = poller.modify(line, unknown_interest());
        seen(Poller::now(&mut poller).as_micros());
        let until = Instant::from_micros(unknown());
        let Ok(now) = poller.wait(until, &mut Ready::new(&mut Anybody));
        seen(now.as_micros());
        let _ = poller.board();
    }
}

static BUFFER: Buffer<u64, 3> = Buffer::new();
static MAILBOX: Mailbox<u64, 3> = Mailbox::new(&LINES, Source::new(1), &BUFFER);

/// A counter that may say anything.
struct OutsideCounter<const HZ: u32, const BITS: u32>;

impl<const HZ: u32, const BITS: u32> Counter for OutsideCounter<HZ, BITS> {
    const HZ: u32 = HZ;
    const BITS: u32 = BITS;

    fn count(&mut self) -> u32 {
        unknown() as u32
    }

    fn set_alarm(&mut self, at: u32) {
        seen(u64::from(at));
    }

    fn clear_alarm(&mut self) {}
}

fn exercise_clock<const HZ: u32, const BITS: u32>() {
    let mut clock = Clock::new(OutsideCounter::<HZ, BITS>);
    while unknown() != 0 {
        seen(clock.now().as_micros());
        clock.sleep(Instant::from_micros(unknown()), &|| unknown() != 0, || seen(1));
    }
}

fn exercise_mailbox() {
    while unknown() != 0 {
        if let Err(value) = MAILBOX.post(unknown()) {
            seen(value);
        }
        seen(MAILBOX.take().unwrap_or(u64::from(MAILBOX.source().number())));
    }
    let anywhere = Mailbox::new(&LINES, Source::new(unknown() as u32), &BUFFER);
    let _ = anywhere.post(unknown());
    let _ = write!(Sink, "{anywhere:?} {BUFFER:?}");
}

fn exercise_sim(world: &World) {
    let mut poller = Faults::new(SimPoller::new(world), unknown());
    while unknown() != 0 {
        let source = Source::new(unknown() as u32);
        if world.set(source, unknown_readiness()).is_err()
            || world.at(poller.now(), source, unknown_readiness()).is_err()
        {
            world.clear(source, unknown_readiness());
        }
        world.advance(unknown_duration());
        world.set_now(Instant::from_micros(unknown()));
        let _ = write!(Sink, "{}", world.readiness(source));
        let _ = poller.modify(source, unknown_interest());
        let until = world.now() + unknown_duration();
        if let Err(idle) = poller.wait(until, &mut Ready::new(&mut Anybody)) {
            let _ = write!(Sink, "{idle}");
        }
        let _ = poller.inner();
    }
}

/// Decides as unknown.
struct Whatever;

impl Choices for Whatever {
    fn decide(&mut self, _: Site, _: &'static [&'static str]) -> usize {
        unknown() as usize
    }
}

fn exercise_choices(world: &World) {
    const NAMES: [&str; 3] = ["", "packet/7#1=lost event/3", "event/5#0=twice \u{e4}/1"];
    let mut faults = Faults::with(SimPoller::new(world), Whatever);
    let _ = faults.wait(Instant::from_micros(unknown()), &mut Ready::new(&mut Anybody));
    let name = NAMES.get(unknown() as usize).copied().unwrap_or("packet");
    for deviation in deviations(name) {
        let _ = match deviation {
            Ok(deviation) => write!(Sink, "{deviation}"),
            Err(error) => write!(Sink, "{error}"),
        };
    }
    let site = Site::new(name, unknown() as u32, unknown() as u32);
    let ways = if unknown() == 0 { &[][..] } else { &["as-usual", "lost", "twice"] };
    let mut seed = Seed::new(unknown());
    seen(seed.decide(site, ways) as u64);
    if let Ok(mut listed) = Listed::new(name) {
        seen((&mut listed).decide(site, ways) as u64);
    }
}

fn unknown_when() -> When {
    match unknown() {
        0 => When::Readable(Source::new(unknown() as u32)),
        1 => When::Writable(Source::new(unknown() as u32)),
        2 => When::At(Instant::from_micros(unknown())),
        3 => When::After(unknown_duration()),
        4 => When::AfterDeadline(unknown_duration()),
        5 => When::Ready(Source::new(unknown() as u32), unknown_interest()),
        _ => When::Now,
    }
}

fn unknown_duration() -> Duration {
    // Not `Duration::new`, which panics when the sum overflows.
    Duration::from_secs(unknown()).saturating_add(Duration::from_nanos(unknown()))
}

fn unknown_interest() -> Interest {
    let both = [Interest::READABLE, Interest::WRITABLE];
    both.into_iter().filter(|_| unknown() == 0).fold(Interest::NONE, |sum, bit| sum | bit)
}

fn unknown_readiness() -> Readiness {
    let all = [Readiness::READABLE, Readiness::WRITABLE, Readiness::HANGUP, Readiness::ERROR];
    all.into_iter().filter(|_| unknown() == 0).fold(Readiness::NONE, |sum, bit| sum | bit)
}
