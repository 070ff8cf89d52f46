//! Every public operation of kpt-core, on two capacities and every geometry, with inputs that the compiler can't know.
//!
//! The panic handler calls a function that does not exist, so this links only if no panic is reachable. There is no
//! allocator either: the crate `alloc` would not compile without one, and `malloc` would not link. `./ci.sh no-panic`
//! tries that, and once more with each planted fault, which must not link.

#![no_std]

use core::fmt::{self, Write};
use core::time::Duration;

use kpt_core::board::{Buffer, Clock, Counter, Mailbox};
use kpt_core::sim::{Faults, SimPoller, World};
use kpt_core::{
    AddError, AgainError, Board, EventLoop, FixedStorage, Index, Instant, Interest, LargeQueues,
    LinePoller, Lines, Link, Poller, Queues, Readiness, Ready, SmallQueues, Source, Storage,
    Thread, ThreadId, Threads, Timers, Unwatchable, Wheel, When,
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

type Probe<'a, S> = EventLoop<Outside, State<'a>, u32, S>;

struct State<'a> {
    id: Option<ThreadId>,
    world: &'a World,
}

/// A poller that may say anything.
#[derive(Default)]
struct Outside;

impl Poller for Outside {
    type Error = u64;

    fn now(&mut self) -> Instant {
        Instant::from_micros(unknown())
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        seen(u64::from(source.number()) ^ u64::from(interest.is_readable()));
        if unknown() == 0 { Ok(()) } else { Err(Unwatchable) }
    }

    fn wait(&mut self, until: Option<Instant>, ready: &mut Ready<'_>) -> Result<Instant, u64> {
        seen(until.map_or(0, Instant::as_micros));
        while unknown() != 0 {
            ready.push(Source::new(unknown() as u32), unknown_readiness());
        }
        if unknown() == 0 { Ok(Instant::from_micros(unknown())) } else { Err(unknown()) }
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

    fn sleep(&mut self, until: Option<Instant>, is_awake: &dyn Fn() -> bool) {
        seen(until.map_or(0, Instant::as_micros) ^ u64::from(is_awake()));
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

/// The static library's only entry.
#[unsafe(no_mangle)]
pub extern "C" fn probe() {
    let world = World::new();
    let mut state = State { id: None, world: &world };
    exercise_queues::<2, _>(SmallQueues::new, &mut state);
    exercise_queues::<64, _>(SmallQueues::new, &mut state);
    exercise_queues::<2, _>(LargeQueues::<Wheel<16, 8>>::default, &mut state);
    exercise_queues::<64, _>(LargeQueues::<Wheel<16, 8>>::default, &mut state);
    exercise_queues::<2, _>(LargeQueues::<Wheel<64, 6>>::default, &mut state);
    exercise_queues::<64, _>(LargeQueues::<Wheel<64, 6>>::default, &mut state);
    exercise_timers(&mut Wheel::<16, 8>::new());
    exercise_sim(&world);
    exercise_lines(&NO_LINES);
    exercise_lines(&LINES);
    exercise_lines(&MOST_LINES);
    exercise_clock::<1_000_000, 32>();
    exercise_clock::<32_768, 24>();
    exercise_clock::<12_500_000, 32>();
    exercise_clock::<3_999_999_000, 32>();
    exercise_mailbox();
    #[cfg(feature = "planted-index")]
    seen([1, 2, 3][unknown() as usize]);
    #[cfg(feature = "planted-malloc")]
    seen(malloc(unknown() as usize) as u64);
}

/// A loop made by a constant, and one of parts.
fn exercise_queues<'a, const N: usize, Q: Queues>(queues: fn() -> Q, state: &mut State<'a>) {
    exercise(Probe::<'_, FixedStorage<_, _, N, Q>>::with_queues(Outside, queues()), state);
    let storage = FixedStorage::<_, _, N, Q>::with_queues(queues());
    exercise(Probe::with_storage(Outside, storage), state);
}

fn exercise<'a, S: Storage<State<'a>, u32>>(mut kpt: Probe<'a, S>, state: &mut State<'a>) {
    while unknown() != 0 {
        use_threads(&mut kpt.threads(), state);
        match kpt.turn(state) {
            Ok(exit) => seen(exit.map_or(0, |exit| exit.as_str().len() as u64)),
            Err(error) => seen(error),
        }
    }
    seen(kpt.run(state).is_ok() as u64);
    let _ = kpt.poller();
}

fn use_threads<'a>(threads: &mut Threads<'_, State<'a>, u32>, state: &mut State<'a>) {
    match threads.add("probe", unknown_when(), hook, unknown() as u32) {
        Ok(id) => state.id = Some(id),
        Err(error @ (AddError::Full(_) | AddError::Taken(_))) => {
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
    let cancelled = threads.cancel_source(source);
    seen(u64::from(cancelled.reader.unwrap_or(0) ^ cancelled.writer.unwrap_or(0)));
    seen(threads.now().as_micros());
    seen((threads.len() ^ threads.capacity()) as u64 ^ u64::from(threads.is_empty()));
    let _ = write!(Sink, "{}", threads.dump());
    seen(threads.verify().map_or_else(|error| error.len() as u64, |()| 0));
    if unknown() == 0 {
        threads.stop();
    }
}

fn hook<'a>(state: &mut State<'a>, mut thread: Thread<'_, State<'a>, u32>) {
    seen(thread.id().to_raw() ^ thread.name().len() as u64 ^ thread.kind().as_str().len() as u64);
    seen(thread.deadline().map_or(0, Instant::as_micros));
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
        2 => {
            let (arg, mut threads) = thread.end();
            seen(u64::from(arg));
            use_threads(&mut threads, state);
        }
        _ => {}
    }
}

fn exercise_timers(timers: &mut dyn Timers) {
    let mut links = [Link::VACANT; 4];
    while let Some(index) = Index::new(unknown() as usize) {
        if let Some(link) = links.get_mut(index.position()) {
            link.set_deadline(Instant::from_micros(unknown()));
        }
        timers.insert(&mut links, index);
        timers.remove(&mut links, index);
        seen(timers.next_deadline(&links).as_micros() ^ timers.position().as_micros());
        timers.advance(&mut links, Instant::from_micros(unknown()));
        seen(timers.pop(&mut links).map_or(0, |index| index.position() as u64));
        seen(timers.verify(&links).map_or(0, |count| count as u64));
    }
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
        let until = (unknown() != 0).then(|| Instant::from_micros(unknown()));
        let mut push = |source: Source, _| seen(u64::from(source.number()));
        let Ok(now) = poller.wait(until, &mut Ready::new(&mut push));
        seen(now.as_micros());
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
        let until = (unknown() != 0).then(|| Instant::from_micros(unknown()));
        clock.sleep(until, &|| unknown() != 0, || seen(1));
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
        let mut push = |source: Source, readiness: Readiness| {
            seen(u64::from(source.number()) ^ u64::from(readiness.is_none()))
        };
        if let Err(idle) =
            poller.wait(Some(world.now() + unknown_duration()), &mut Ready::new(&mut push))
        {
            let _ = write!(Sink, "{idle}");
        }
    }
}

fn unknown_when() -> When {
    match unknown() {
        0 => When::Readable(Source::new(unknown() as u32)),
        1 => When::Writable(Source::new(unknown() as u32)),
        2 => When::At(Instant::from_micros(unknown())),
        3 => When::After(unknown_duration()),
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
