//! Tasks: forked processes with a loop of their own, and a channel of messages to their parent.
//!
//! From the bottom: [`frame`] (messages as bytes) and [`life`] (the steps to end a task) use neither descriptors nor
//! processes. [`watch`] is one descriptor and what the poller knows of it; [`channel`] the bytes in and out, and
//! [`process`] the process of a task. An [`end`] of a channel is a [`task_end`] at the parent or a [`parent_end`] at the
//! task; [`ends`] are those of a loop, and [`tasks`] is the poller that drives them. [`child`] is the API of a task,
//! and [`run`] what runs in its process, with its [`last_words`]. [`spawner`] and [`handle`] are the parent's API.
//! [`descriptors`] are operations of both sides, and `typed` encodes values as messages.

mod channel;
mod child;
mod config;
mod delivery;
mod descriptors;
mod end;
mod ends;
mod error;
mod exit;
mod frame;
mod handle;
mod last_words;
mod life;
mod live;
mod net;
mod net_watch;
mod parent_end;
mod privileges;
mod process;
mod rest;
mod run;
mod scratch;
mod spawner;
mod task_end;
mod tasks;
#[cfg(feature = "postcard")]
mod typed;
mod watch;

pub use child::{Child, Parent};
pub use config::TaskConfig;
pub use error::{SendError, SendWithError, SignalError, StartError};
pub use exit::{Message, TaskEvent, TaskExit, TaskStatus};
pub use frame::{Passed, ProtocolError};
pub use handle::TaskHandle;
pub use life::StopStep;
pub use privileges::Limit;
pub use spawner::Spawner;
pub use tasks::Tasks;
#[cfg(feature = "postcard")]
pub use typed::{Malformed, SendValueError, decode};

#[cfg(feature = "sim")]
pub(crate) use life::{Action, Life};
#[cfg(feature = "sim")]
pub(crate) use run::MESSAGES_PER_TURN;
