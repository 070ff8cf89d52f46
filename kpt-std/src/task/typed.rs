//! Sends and receives values of serde types as messages, in postcard's format.

use std::any::type_name;
use std::error::Error;
use std::fmt;

use serde::de::{Deserialize, DeserializeOwned};
use serde::ser::Serialize;

use super::child::Parent;
use super::error::SendError;
use super::exit::TaskEvent;
use super::handle::TaskHandle;

impl TaskHandle {
    /// Sends a value, encoded in postcard's format, as [`send`](Self::send) does. [`decode`] decodes it.
    ///
    /// ```no_run
    /// # use kpt_std::{Child, Spawner, TaskConfig, Threads, decode};
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// enum Command {
    ///     Move { x: i32, y: i32 },
    ///     Home,
    /// }
    ///
    /// struct Arm;
    ///
    /// impl Child for Arm {
    ///     type Arg = ();
    ///
    ///     fn on_message(&mut self, message: Vec<u8>, _: Threads<Self>) {
    ///         match decode(&message) {
    ///             Ok(Command::Move { x, y }) => println!("to {x}, {y}"),
    ///             Ok(Command::Home) => println!("home"),
    ///             Err(error) => eprintln!("{error}"), // Later messages are not affected.
    ///         }
    ///     }
    /// }
    ///
    /// let arm = Spawner::new().start(TaskConfig::new("arm"), |_| Arm)?;
    /// arm.send_value(&Command::Move { x: 3, y: 4 })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns a [`SendValueError`] if the value is not queued.
    pub fn send_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), SendValueError> {
        Ok(self.send(&encode(value)?)?)
    }
}

impl Parent {
    /// Sends a value, encoded in postcard's format, as [`send`](Self::send) does. [`TaskEvent::decode`] decodes it.
    ///
    /// # Errors
    /// Returns a [`SendValueError`] if the value is not queued.
    pub fn send_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), SendValueError> {
        Ok(self.send(&encode(value)?)?)
    }
}

impl TaskEvent {
    /// Decodes the value of a message that was sent with [`Parent::send_value`]. Other events are returned unchanged.
    ///
    /// ```
    /// # use kpt_std::{Malformed, TaskEvent};
    /// // As it comes from `receive` and `receive_blocking` of a handle.
    /// fn on_event(event: TaskEvent) -> Result<(), Malformed> {
    ///     match event.decode()? {
    ///         TaskEvent::Message((name, degrees)) => show(name, degrees),
    ///         TaskEvent::Ready => println!("ready"),
    ///         TaskEvent::Exit(exit) => println!("{exit}"),
    ///     }
    ///     Ok(())
    /// }
    ///
    /// fn show(name: String, degrees: i16) {
    ///     println!("{name}: {degrees} degrees");
    /// }
    /// # on_event(TaskEvent::Message(vec![3, b'o', b'a', b'k', 42])).unwrap();
    /// # assert!(on_event(TaskEvent::Message(vec![3, b'o'])).is_err());
    /// ```
    ///
    /// # Errors
    /// Returns [`Malformed`] if the message is not such a value. The message is lost; the task and its channel are not
    /// affected.
    pub fn decode<T: DeserializeOwned>(self) -> Result<TaskEvent<T>, Malformed> {
        Ok(match self {
            Self::Message(message) => TaskEvent::Message(decode(&message)?),
            Self::Ready => TaskEvent::Ready,
            Self::Exit(exit) => TaskEvent::Exit(exit),
        })
    }
}

/// Decodes a message that was sent with `send_value`. [`TaskHandle::send_value`] shows its use in
/// [`Child::on_message`](super::Child::on_message).
///
/// A message does not contain its type: both sides must use the same one. Bytes that happen to be valid for another
/// type are decoded as a value of it.
///
/// Don't decode messages of untrusted tasks as a type that contains itself, since a message can nest so deep that the
/// stack overflows; nor as a type with elements of no bytes, such as `Vec<()>`, since a short message can hold any
/// number of them.
///
/// ```
/// assert_eq!(kpt_std::decode::<(bool, &str)>(&[1, 2, b'h', b'i']), Ok((true, "hi")));
/// assert!(kpt_std::decode::<bool>(&[7]).is_err());
/// assert!(kpt_std::decode::<bool>(&[1, 0]).is_err()); // A byte is left over.
/// ```
///
/// # Errors
/// Returns [`Malformed`] if the message is not a value of this type, or if bytes are left over.
pub fn decode<'m, T: Deserialize<'m>>(message: &'m [u8]) -> Result<T, Malformed> {
    let malformed = |reason| Malformed { wanted: type_name::<T>(), length: message.len(), reason };
    match postcard::take_from_bytes(message) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(malformed(Reason::Rest(rest.len()))),
        Err(error) => Err(malformed(Reason::Postcard(error))),
    }
}

fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, SendValueError> {
    // Memory grows as needed, so only the value itself can be the reason.
    postcard::to_allocvec(value).map_err(|_| SendValueError::Unencodable)
}

/// A message is not a value of the requested type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    wanted: &'static str,
    length: usize,
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    Postcard(postcard::Error),
    /// A value is followed by this number of bytes.
    Rest(usize),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, length, reason } = self;
        write!(f, "can't decode a message of {length} bytes as {wanted}: ")?;
        match reason {
            Reason::Postcard(error) => error.fmt(f),
            Reason::Rest(rest) => write!(f, "{rest} bytes are left over"),
        }
    }
}

impl Error for Malformed {}

/// A value was not queued. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendValueError {
    /// The value can't be encoded: its `Serialize` fails, or does not know the length of a sequence.
    Unencodable,
    /// The encoded value was not queued.
    Send(SendError),
}

impl fmt::Display for SendValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unencodable => f.write_str("the value can't be encoded as a message"),
            Self::Send(error) => error.fmt(f),
        }
    }
}

// `Display` already prints the error in `Send`: there is no further source.
impl Error for SendValueError {}

impl From<SendError> for SendValueError {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}
