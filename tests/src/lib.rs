//! Tests of kpt that cross crates or processes: ported programs, the faults of the original and of the field, the
//! contract of pollers, the large loop against the small one, and benchmarks.
//!
//! What is in here is for the tests in `tests/`; [`contract`] is for pollers of others as well.
//!
//! # C6: what a hook can't do
//!
//! Each of these is the program before it with one thing changed that must not compile.
//!
//! A hook may hand its thread on while it runs:
//! ```
//! fn hook(_: &mut Option<kpt_core::ThreadId>, thread: kpt_core::Thread<Option<kpt_core::ThreadId>>) {
//!     let kept = Some(thread);
//!     drop(kept);
//! }
//! ```
//! but not keep it:
//! ```compile_fail,E0621
//! struct State<'s>(Option<kpt_core::Thread<'s, State<'s>>>);
//! fn hook<'s>(state: &mut State<'s>, thread: kpt_core::Thread<'_, State<'s>>) {
//!     state.0 = Some(thread);
//! }
//! ```
//! nor the view of the threads that it gives:
//! ```compile_fail,E0621
//! struct State<'s>(Option<kpt_core::Threads<'s, State<'s>>>);
//! fn hook<'s>(state: &mut State<'s>, thread: kpt_core::Thread<'_, State<'s>>) {
//!     let ((), threads) = thread.end();
//!     state.0 = Some(threads);
//! }
//! ```
//!
//! and a function that asks for a thread that lives longer is no hook:
//! ```compile_fail,E0308
//! use kpt_core::{Thread, Threads};
//! struct State<'s>(Option<Thread<'s, State<'s>>>);
//! fn hook<'s>(state: &mut State<'s>, thread: Thread<'s, State<'s>>) {
//!     state.0 = Some(thread);
//! }
//! fn add<'s>(threads: &mut Threads<'_, State<'s>>) {
//!     threads.add_execute("keep", hook, ()).unwrap();
//! }
//! ```
//!
//! A loop may be run from a hook of another one:
//! ```
//! use kpt_std::{EventLoop, Thread};
//! struct Outer { inner: EventLoop<u32> }
//! fn hook(state: &mut Outer, _: Thread<Outer>) {
//!     state.inner.run(&mut 0).unwrap();
//! }
//! let mut outer = EventLoop::with_capacity(1).unwrap();
//! outer.threads().add_execute("run", hook, ()).unwrap();
//! outer.run(&mut Outer { inner: EventLoop::with_capacity(1).unwrap() }).unwrap();
//! ```
//! but not from its own, which is borrowed while it runs:
//! ```compile_fail,E0499
//! use kpt_std::{EventLoop, Thread};
//! struct Outer<'l> { own: &'l mut EventLoop<u32> }
//! let mut outer: EventLoop<u32> = EventLoop::with_capacity(1).unwrap();
//! let mut state = Outer { own: &mut outer };
//! outer.run(&mut 0).unwrap();
//! state.own.run(&mut 0).unwrap();
//! ```
//! nor is there a way to it through the state, which can't hold the loop that it is lent to:
//! ```compile_fail,E0499
//! use kpt_std::EventLoop;
//! struct State { own: EventLoop<State> }
//! fn run(mut state: State) {
//!     state.own.run(&mut state).unwrap();
//! }
//! ```
//!
//! Views of two loops may be used side by side:
//! ```
//! use kpt_std::EventLoop;
//! let mut one: EventLoop<u32> = EventLoop::with_capacity(1).unwrap();
//! let mut other: EventLoop<u64> = EventLoop::with_capacity(1).unwrap();
//! let (mut of_one, mut of_other) = (one.threads(), other.threads());
//! of_one.add_execute("one", |_, _| {}, ()).unwrap();
//! of_other.add_execute("other", |_, _| {}, ()).unwrap();
//! ```
//! but the hook of one is not a hook of the other:
//! ```compile_fail,E0308
//! use kpt_std::{EventLoop, Thread};
//! fn hook(_: &mut u32, _: Thread<u32>) {}
//! let mut other: EventLoop<u64> = EventLoop::with_capacity(1).unwrap();
//! other.threads().add_execute("other", hook, ()).unwrap();
//! ```
//! and there are no two views of one loop:
//! ```compile_fail,E0499
//! use kpt_std::EventLoop;
//! let mut one: EventLoop<u32> = EventLoop::with_capacity(2).unwrap();
//! let (mut first, mut second) = (one.threads(), one.threads());
//! first.add_execute("one", |_, _| {}, ()).unwrap();
//! second.add_execute("one", |_, _| {}, ()).unwrap();
//! ```
//!
//! A thread that has been re-armed can't be re-armed again:
//! ```compile_fail,E0382
//! fn hook(_: &mut u32, thread: kpt_core::Thread<u32>) {
//!     thread.again();
//!     thread.again();
//! }
//! ```

pub mod attack;
pub mod bench;
pub mod chance;
pub mod contract;
pub mod counter;
pub mod explored;
pub mod loops;
pub mod place;
pub mod pollers;
pub mod process;
pub mod real;
pub mod rigs;
pub mod scenario;
pub mod sys;
pub mod tape;
pub mod tasks;
pub mod time;
pub mod waiting;
pub mod wall_clock;
pub mod wrapper;

/// Runs what the repository's README shows.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
