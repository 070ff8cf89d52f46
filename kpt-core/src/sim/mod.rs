//! A simulated world in virtual time, for testing an application with its hooks and state unchanged, without an OS and
//! without sleeping.
//!
//! - [`World`] is what is outside of the loop: the time, and the sources that can be read from and written to. The
//!   application's state may hold a reference to the world, so that hooks can change it.
//! - [`SimPoller`] is a poller on a world. When nothing is ready, it jumps to the next moment at which something is.
//!   Time does not pass otherwise: a hook that takes time calls [`World::advance`], and a hook that leaves its source
//!   ready and re-arms its thread is called again and again in the same microsecond.
//! - [`Faults`] is a poller around any other one. It does everything that the contract of a poller allows, including
//!   what real pollers rarely do.
//! - [`Choices`] decides on those faults: [`Seed`] by chance, [`Listed`] by a schedule, such as
//!   `event/3#0=twice wait/0#5=interrupted`. It can decide for parts of a simulation of your own, too. `kpt_std::sim` tries
//!   all schedules with few deviations.

mod choices;
mod faults;
mod map;
mod poller;
mod schedule;
mod world;

pub use choices::{Choices, Listed, Seed, Site};
pub use faults::Faults;
pub use poller::{Idle, SimPoller};
pub use schedule::{Deviation, ScheduleError, deviations};
pub use world::{World, WorldFull};
