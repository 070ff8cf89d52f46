//! Values as messages, of any type that serde knows, in postcard's format.

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
    /// Sends a value: [`send`](Self::send), with the bytes that [`decode`] makes the value of again.
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
    ///             Err(error) => eprintln!("{error}"), // The next message is read all the same.
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
    /// [`SendValueError`]: it is not queued.
    pub fn send_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), SendValueError> {
        Ok(self.send(&encode(value)?)?)
    }
}

impl Parent {
    /// Sends a value: [`send`](Self::send), with the bytes that [`TaskEvent::decode`] makes the value of again.
    ///
    /// # Errors
    /// [`SendValueError`]: it is not queued.
    pub fn send_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), SendValueError> {
        Ok(self.send(&encode(value)?)?)
    }
}

impl TaskEvent {
    /// The event with the value that a task has sent by [`Parent::send_value`]; an exit stays what it is.
    ///
    /// ```
    /// # use kpt_std::{Malformed, TaskEvent};
    /// // As it comes from `receive` and `receive_blocking` of a handle.
    /// fn on_event(event: TaskEvent) -> Result<(), Malformed> {
    ///     match event.decode()? {
    ///         TaskEvent::Message((name, degrees)) => show(name, degrees),
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
    /// [`Malformed`]: that message is lost, and nothing else. Its task can be received from, and sent to, as before.
    pub fn decode<T: DeserializeOwned>(self) -> Result<TaskEvent<T>, Malformed> {
        Ok(match self {
            Self::Message(message) => TaskEvent::Message(decode(&message)?),
            Self::Exit(exit) => TaskEvent::Exit(exit),
        })
    }
}

/// The value in a message that was sent by `send_value`: for [`Child::on_message`](super::Child::on_message), see
/// [`TaskHandle::send_value`].
///
/// A message does not say of which type it is: both sides have to mean the same one. Bytes that happen to be right for
/// another type are a value of it.
///
/// Of a type that contains itself, a message that is made for it can nest as deep as it is long, which the stack may
/// not bear; and of a type without bytes, as in `Vec<()>`, it can hold any number. Such types are for tasks that
/// are trusted.
///
/// ```
/// assert_eq!(kpt_std::decode::<(bool, &str)>(&[1, 2, b'h', b'i']), Ok((true, "hi")));
/// assert!(kpt_std::decode::<bool>(&[7]).is_err());
/// assert!(kpt_std::decode::<bool>(&[1, 0]).is_err()); // Something is left.
/// ```
///
/// # Errors
/// [`Malformed`].
pub fn decode<'m, T: Deserialize<'m>>(message: &'m [u8]) -> Result<T, Malformed> {
    let malformed = |reason| Malformed { wanted: type_name::<T>(), length: message.len(), reason };
    match postcard::take_from_bytes(message) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(malformed(Reason::Rest(rest.len()))),
        Err(error) => Err(malformed(Reason::Postcard(error))),
    }
}

fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, SendValueError> {
    // With memory as needed, only the value itself can be the reason.
    postcard::to_allocvec(value).map_err(|_| SendValueError::Unencodable)
}

/// A message is no value of the type that was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    wanted: &'static str,
    length: usize,
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    Postcard(postcard::Error),
    /// There is a value, and so many bytes behind it.
    Rest(usize),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, length, reason } = self;
        write!(f, "a message of {length} bytes is no {wanted}: ")?;
        match reason {
            Reason::Postcard(error) => error.fmt(f),
            Reason::Rest(rest) => write!(f, "{rest} bytes too many"),
        }
    }
}

impl Error for Malformed {}

/// A value was not sent. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendValueError {
    /// It can't be a message: its `Serialize` refuses, or does not say how long a sequence is.
    Unencodable,
    /// It could, but was not sent.
    Send(SendError),
}

impl fmt::Display for SendValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unencodable => f.write_str("the value can't be written as a message"),
            Self::Send(error) => error.fmt(f),
        }
    }
}

// What `Send` says is said by Display already: there is no further source.
impl Error for SendValueError {}

impl From<SendError> for SendValueError {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}
