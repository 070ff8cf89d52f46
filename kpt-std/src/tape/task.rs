//! The tasks of a replay, and what is recorded of tasks: their start, their messages and their end.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::Duration;

use kpt_core::Source;
use kpt_core::tape::Call;

use super::here;
use super::socket::{dev_null, record, replay};
use crate::{
    Message, Passed, ProtocolError, SendError, SignalError, StartError, StopStep, TaskEvent,
    TaskExit, TaskHandle, TaskStatus, source,
};

/// A task of a replay, which does what is on the tape. Its descriptor is one of `/dev/null`, of which only the number is used.
pub struct ReplayedTask {
    file: File,
    id: i32,
}

impl ReplayedTask {
    /// Returns the task that was started on the tape.
    fn start(name: &str) -> Result<Self, StartError> {
        let (number, id) = replay(Call::Start, None, &[name.as_bytes()]).map_err(start_error)?;
        let file = dev_null()?;
        here::with_player(|player| player.is_here(Source::new(number), source(&file)));
        Ok(Self { file, id: id[..].try_into().map_or(0, i32::from_le_bytes) })
    }

    pub fn source(&self) -> Source {
        source(&self.file)
    }

    pub fn id(&self) -> i32 {
        self.id
    }

    /// Takes the descriptor, unless the tape has an error.
    pub fn send(&self, message: &[u8], descriptor: &mut Option<OwnedFd>) -> Result<(), SendError> {
        self.call(Call::Write, &[message]).map_err(|error| {
            let code = error.raw_os_error();
            let known = SEND_ERRORS.into_iter().find(|(_, known)| Some(*known) == code);
            known.map_or(SendError::Closed, |(error, _)| error)
        })?;
        *descriptor = None;
        Ok(())
    }

    pub fn receive(&self) -> Option<TaskEvent<Message>> {
        let (_, bytes) = replay(Call::Event, Some(self.source()), &[]).ok()?;
        decode(&mut Reader(&bytes), |number| {
            let file = dev_null().ok()?;
            here::with_player(|player| player.is_here(Source::new(number), source(&file)));
            Some(file.into())
        })
    }

    /// Returns the end for which the recording waited.
    pub fn wait(&self) -> TaskExit {
        match self.receive() {
            Some(TaskEvent::Exit(exit)) => exit,
            _ => TaskExit {
                status: TaskStatus::Unknown,
                stopped: None,
                has_started: false,
                is_truncated: false,
                protocol_error: None,
                signal_error: None,
            },
        }
    }

    pub fn stop(&self, grace: Duration) {
        let _ = self.call(Call::Set, &[STOP, &grace.as_micros().to_le_bytes()]);
    }

    pub fn kill(&self) -> Result<(), SignalError> {
        let signal_error = |error: io::Error| SignalError {
            signal: libc::SIGKILL,
            error: error.raw_os_error().unwrap_or(libc::EIO),
        };
        self.call(Call::Set, &[KILL]).map(drop).map_err(signal_error)
    }

    fn call(&self, call: Call, parts: &[&[u8]]) -> io::Result<u32> {
        replay(call, Some(self.source()), parts).map(|(number, _)| number)
    }
}

/// Returns the task of a replay; `None` without a replay, when the task has to be started.
pub fn starting(name: &str) -> Option<Result<ReplayedTask, StartError>> {
    here::is_replaying().then(|| ReplayedTask::start(name))
}

/// Puts the start of a task on the tape.
pub fn note_start(name: &str, result: &Result<TaskHandle, StartError>) {
    if here::is_recording() {
        let id = result.as_ref().map_or(0, TaskHandle::id).to_le_bytes();
        let result = result.as_ref().map(|task| task.source().number()).map_err(start_code);
        record(Call::Start, Source::new(0), &[name.as_bytes()], result, &id);
    }
}

/// Puts on the tape whether a message was queued.
pub fn note_message(task: Source, message: &[u8], result: Result<(), SendError>) {
    if here::is_recording() {
        let code = |error| {
            let known = SEND_ERRORS.into_iter().find(|(known, _)| *known == error);
            known.map_or(libc::EPIPE, |(_, code)| code)
        };
        let result = result.map(|()| message.len() as u32).map_err(code);
        record(Call::Write, task, &[message], result, &[]);
    }
}

/// Puts on the tape which event was received, if any.
pub fn note_event(task: Source, event: Option<&TaskEvent<Message>>) {
    if here::is_recording() {
        let mut bytes = Vec::new();
        if let Some(event) = event {
            encode(event, &mut bytes);
        }
        record(Call::Event, task, &[], Ok(event.is_some().into()), &bytes);
    }
}

/// Puts on the tape the end of a task for which the parent has waited.
pub fn note_exit(task: Source, exit: &TaskExit) {
    if here::is_recording() {
        note_event(task, Some(&TaskEvent::Exit(exit.clone())));
    }
}

/// Puts on the tape that a task is stopped.
pub fn note_stop(task: Source, grace: Duration) {
    if here::is_recording() {
        record(Call::Set, task, &[STOP, &grace.as_micros().to_le_bytes()], Ok(0), &[]);
    }
}

/// Puts on the tape that a task is killed.
pub fn note_kill(task: Source, result: Result<(), SignalError>) {
    if here::is_recording() {
        record(Call::Set, task, &[KILL], result.map(|()| 0).map_err(|error| error.error), &[]);
    }
}

const STOP: &[u8] = b"stop";
const KILL: &[u8] = b"kill";

/// Errors of the system that stand for those of a message.
const SEND_ERRORS: [(SendError, i32); 4] = [
    (SendError::Full, libc::EAGAIN),
    (SendError::TooLong, libc::EMSGSIZE),
    (SendError::Closed, libc::EPIPE),
    (SendError::NoDescriptors, libc::EOPNOTSUPP),
];

/// Errors of a start. The system has none with these numbers.
const MULTI_THREADED: i32 = 1 << 20;
const UNWINDING: i32 = MULTI_THREADED + 1;
const IN_SIMULATION: i32 = MULTI_THREADED + 2;

fn start_code(error: &StartError) -> i32 {
    match error {
        StartError::MultiThreaded => MULTI_THREADED,
        StartError::Unwinding => UNWINDING,
        StartError::InSimulation => IN_SIMULATION,
        StartError::System(error) => super::socket::code(error),
        StartError::MessagesTooLong => libc::EMSGSIZE,
    }
}

fn start_error(error: io::Error) -> StartError {
    match error.raw_os_error() {
        Some(MULTI_THREADED) => StartError::MultiThreaded,
        Some(UNWINDING) => StartError::Unwinding,
        Some(IN_SIMULATION) => StartError::InSimulation,
        _ => StartError::System(error),
    }
}

const MESSAGE: u8 = 1;
const READY: u8 = 2;
const EXIT: u8 = 3;
/// A message with a descriptor, whose number comes before the bytes; and a message whose descriptor was lost.
const PASSING: u8 = 4;
const LOSING: u8 = 5;

/// Returns where in the bytes of an event the message is; an empty range for another event.
pub fn payload_of(event: &[u8]) -> Range<usize> {
    let begin = match event.first() {
        Some(&(MESSAGE | LOSING)) => 1,
        Some(&PASSING) => 1 + size_of::<u32>(),
        _ => event.len(),
    };
    begin.min(event.len())..event.len()
}

/// Encodes an event: its kind, and a message or the fields of an exit. Numbers have four bytes.
fn encode(event: &TaskEvent<Message>, to: &mut Vec<u8>) {
    let exit = match event {
        TaskEvent::Message(message) => {
            match &message.descriptor {
                Passed::Nothing => to.push(MESSAGE),
                Passed::Descriptor(descriptor) => {
                    to.push(PASSING);
                    to.extend(source(descriptor).number().to_le_bytes());
                }
                Passed::Lost => to.push(LOSING),
            }
            return to.extend(&message.bytes);
        }
        TaskEvent::Ready => return to.push(READY),
        TaskEvent::Exit(exit) => exit,
    };
    let stopped = match exit.stopped {
        None => 0,
        Some(StopStep::Asked) => 1,
        Some(StopStep::Terminated) => 2,
        Some(StopStep::Killed) => 3,
    };
    to.extend([EXIT, stopped, exit.has_started.into(), exit.is_truncated.into()]);
    let (protocol, value) = match exit.protocol_error {
        None => (0, 0),
        Some(ProtocolError::Unexpected { kind }) => (1, kind.into()),
        Some(ProtocolError::TooLong { length }) => (2, length),
        Some(ProtocolError::Descriptor) => (3, 0),
    };
    let SignalError { signal, error } = exit.signal_error.unwrap_or(NO_SIGNAL);
    let (status, number, text) = match &exit.status {
        TaskStatus::Code(code) => (0, *code, ""),
        TaskStatus::Signal(signal) => (1, *signal, ""),
        TaskStatus::Panicked(text) => (2, 0, text.as_str()),
        TaskStatus::Failed(text) => (3, 0, text.as_str()),
        TaskStatus::Unknown => (4, 0, ""),
    };
    for number in [protocol, value, signal as u32, error as u32, status, number as u32] {
        to.extend(number.to_le_bytes());
    }
    to.extend(text.as_bytes());
}

const NO_SIGNAL: SignalError = SignalError { signal: 0, error: 0 };

/// Decodes an event. Returns `None` if there was none, and for invalid bytes. `open` opens a descriptor that stands for the
/// one with this number.
fn decode(
    from: &mut Reader<'_>,
    open: impl FnOnce(u32) -> Option<OwnedFd>,
) -> Option<TaskEvent<Message>> {
    let message = |from: &Reader<'_>, descriptor| {
        Some(TaskEvent::Message(Message { bytes: from.0.to_vec(), descriptor }))
    };
    match from.byte()? {
        MESSAGE => return message(from, Passed::Nothing),
        PASSING => {
            let descriptor = open(from.number()?).map_or(Passed::Lost, Passed::Descriptor);
            return message(from, descriptor);
        }
        LOSING => return message(from, Passed::Lost),
        READY => return Some(TaskEvent::Ready),
        EXIT => {}
        _ => return None,
    }
    let stopped = match from.byte()? {
        1 => Some(StopStep::Asked),
        2 => Some(StopStep::Terminated),
        3 => Some(StopStep::Killed),
        _ => None,
    };
    let (has_started, is_truncated) = (from.byte()? != 0, from.byte()? != 0);
    let protocol_error = match (from.number()?, from.number()?) {
        (1, kind) => Some(ProtocolError::Unexpected { kind: kind as u8 }),
        (2, length) => Some(ProtocolError::TooLong { length }),
        (3, _) => Some(ProtocolError::Descriptor),
        _ => None,
    };
    let (signal, error) = (from.number()? as i32, from.number()? as i32);
    let signal_error = Some(SignalError { signal, error }).filter(|error| *error != NO_SIGNAL);
    let (status, number) = (from.number()?, from.number()? as i32);
    let text = || String::from_utf8_lossy(from.0).into_owned();
    let status = match status {
        0 => TaskStatus::Code(number),
        1 => TaskStatus::Signal(number),
        2 => TaskStatus::Panicked(text()),
        3 => TaskStatus::Failed(text()),
        _ => TaskStatus::Unknown,
    };
    Some(TaskEvent::Exit(TaskExit {
        status,
        stopped,
        has_started,
        is_truncated,
        protocol_error,
        signal_error,
    }))
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_what_they_were() {
        let message = |bytes: &[u8], descriptor| {
            TaskEvent::Message(Message { bytes: bytes.to_vec(), descriptor })
        };
        let without_numbers = |event: &TaskEvent<Message>| {
            let text = format!("{event:?}");
            text.split("fd: ").next().unwrap_or_default().to_owned()
        };
        let exit = |status, stopped, protocol_error, signal_error| {
            TaskEvent::Exit(TaskExit {
                status,
                stopped,
                has_started: stopped.is_none(),
                is_truncated: stopped.is_some(),
                protocol_error,
                signal_error,
            })
        };
        let (kind, length) = (255, u32::MAX);
        let (one, two) = (ProtocolError::Unexpected { kind }, ProtocolError::TooLong { length });
        let signal_error = SignalError { signal: 9, error: libc::EPERM };
        for event in [
            message(b"hello", Passed::Nothing),
            message(b"", Passed::Lost),
            message(b"x", Passed::Descriptor(dev_null().unwrap().into())),
            TaskEvent::Ready,
            exit(TaskStatus::Code(-1), None, None, None),
            exit(TaskStatus::Signal(15), Some(StopStep::Terminated), Some(one), None),
            exit(TaskStatus::Panicked("a\nb".into()), Some(StopStep::Asked), Some(two), None),
            exit(
                TaskStatus::Failed("why".into()),
                Some(StopStep::Killed),
                None,
                Some(signal_error),
            ),
            exit(TaskStatus::Unknown, None, None, None),
        ] {
            let mut bytes = Vec::new();
            encode(&event, &mut bytes);
            let payload = match &event {
                TaskEvent::Message(message) => &message.bytes[..],
                _ => &[],
            };
            assert_eq!(&bytes[payload_of(&bytes)], payload);
            let open = |_| dev_null().ok().map(Into::into);
            let decoded = decode(&mut Reader(&bytes), open).unwrap();
            assert_eq!(without_numbers(&decoded), without_numbers(&event));
            for cut in 0..bytes.len() {
                let _ = decode(&mut Reader(&bytes[..cut]), open);
            }
        }
        assert!(decode(&mut Reader(b""), |_| None).is_none());
    }
}
