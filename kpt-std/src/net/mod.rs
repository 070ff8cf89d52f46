//! Streams, listeners and datagrams that never block, and buffers for streams. None of them knows the loop.

mod address;
mod buffered;
mod datagram;
mod input;
mod listener;
mod output;
mod stream;

pub use address::Address;
pub use buffered::BufferedStream;
pub use datagram::Datagram;
pub use listener::Listener;
pub use output::{Output, OutputFull};
pub use stream::Stream;
