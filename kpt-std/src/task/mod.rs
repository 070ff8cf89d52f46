//! Tasks: forked processes with a loop of their own, and a channel of messages to their parent.
//!
//! From the bottom: [`frame`] (messages as bytes) and [`life`] (the steps to end a task) use neither descriptors nor
//! processes. [`process`] is the process of a task, [`peer`] one end of a channel, [`peers`] all channels of a loop,
//! and [`tasks`] the poller that drives them. [`spawner`] and [`handle`] are the parent's API; [`child`] runs in the
//! new process. `typed` encodes values as messages.

mod child;
mod config;
mod error;
mod exit;
mod frame;
mod handle;
mod life;
mod peer;
mod peers;
mod process;
mod spawner;
mod tasks;
#[cfg(feature = "postcard")]
mod typed;

pub use child::{Child, Parent};
pub use config::TaskConfig;
pub use error::{SendError, StartError};
pub use exit::{TaskEvent, TaskExit, TaskStatus};
pub use frame::ProtocolError;
pub use handle::TaskHandle;
pub use life::Rung;
pub use spawner::Spawner;
pub use tasks::Tasks;
#[cfg(feature = "postcard")]
pub use typed::{Malformed, SendValueError, decode};
