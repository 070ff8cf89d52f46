//! Streams, listeners and datagrams that never block, and buffers for streams. None of them knows the loop.

mod address;
mod buffered;
mod datagram;
mod input;
mod listener;
mod output;
mod stream;

use std::panic::{RefUnwindSafe, UnwindSafe};

pub use address::Address;
pub use buffered::BufferedStream;
pub use datagram::Datagram;
pub use listener::Listener;
pub use output::{Output, OutputFull};
pub use stream::Stream;

/// Sockets may be sent to another OS thread and shared with it, with the feature `sim` as without: it changes no auto
/// trait.
const _: () = {
    const fn is_free<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
    is_free::<Stream>();
    is_free::<Listener>();
    is_free::<Datagram>();
};
