//! Which types may be sent to another OS thread: said in the docs, and checked when this is compiled.

use kpt_core::board::{Board, LinePoller, Lines};
use kpt_core::large::LargeLoop;
use kpt_core::{FixedLoop, Instant, Thread, ThreadId, Threads, When};
use kpt_std::{
    BufferedStream, ChildProcess, Datagram, EventLoop, HeapStorage, Listener, Receiver,
    SelectPoller, Sender, Signals, Stream, Waker,
};

struct Quiet;

impl Board<1> for Quiet {
    const TICK_MICROS: u32 = 1;

    fn lines(&self) -> &'static Lines<1> {
        static LINES: Lines<1> = Lines::new();
        &LINES
    }

    fn now(&mut self) -> Instant {
        Instant::ZERO
    }

    fn sleep(&mut self, _: Instant, _: &dyn Fn() -> bool) {}
}

/// Not `Send`, and not `Sync`.
type Bound = std::rc::Rc<()>;

/// Says whether `T: Send`, by which of two functions of that name the compiler takes.
struct Probe<T>(std::marker::PhantomData<T>);

trait NotSend {
    const IS_SEND: bool = false;
}

impl<T> NotSend for Probe<T> {}

impl<T: Send> Probe<T> {
    const IS_SEND: bool = true;
}

macro_rules! is_send {
    ($($type:ty: $is_send:literal;)*) => {
        $(assert_eq!(Probe::<$type>::IS_SEND, $is_send, stringify!($type));)*
    };
}

#[test]
fn what_is_send_is_as_the_docs_say() {
    is_send! {
        // A loop is, if its poller and its arguments are, whatever the state is that its hooks are given.
        FixedLoop<LinePoller<Quiet, 1>, Bound, 2, u32>: true;
        FixedLoop<LinePoller<Quiet, 1>, u32, 2, Bound>: false;
        LargeLoop<LinePoller<Quiet, 1>, Bound, 2, u32>: true;
        LargeLoop<LinePoller<Quiet, 1>, u32, 2, Bound>: false;
        HeapStorage<Bound, u32>: true;
        HeapStorage<u32, Bound>: false;
        SelectPoller: true;
        // Sockets and their buffers are.
        Stream: true;
        Listener: true;
        Datagram: true;
        BufferedStream: true;
        // One with tasks stays in the OS thread that made it.
        EventLoop<u32>: false;
        // What other OS threads have, and what they have to do with.
        Waker: true;
        Sender<u32>: true;
        Sender<Bound>: false;
        Receiver<u32>: true;
        Signals: true;
        ChildProcess: true;
        // What hooks see stays within the hook.
        Threads<'static, u32>: false;
        Thread<'static, u32>: false;
        ThreadId: true;
        When: true;
    }
}
