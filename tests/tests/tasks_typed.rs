//! Values as messages. What is malformed is an error of its task only.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use kpt_std::{
    Child, Malformed, Parent, SendError, SendValueError, Spawner, TaskConfig, TaskEvent,
    TaskHandle, TaskStatus, Threads, decode,
};
use kpt_tests::chance::{Chance, is_deep};
use kpt_tests::tasks;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

const GRACE: Duration = Duration::from_secs(5);

/// A value of many types.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Record {
    name: String,
    numbers: (u64, i64, f32),
    letter: char,
    maybe: Option<bool>,
    bytes: Vec<u8>,
    map: BTreeMap<String, Vec<Shape>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(u32),
    Box { width: i16, height: i16 },
}

impl Record {
    fn by(chance: &mut Chance) -> Self {
        let shape = |chance: &mut Chance| match chance.below(3) {
            0 => Shape::Point,
            1 => Shape::Circle(chance.number() as u32),
            _ => Shape::Box { width: chance.number() as i16, height: chance.number() as i16 },
        };
        let count = chance.below(5);
        let map = (0..count)
            .map(|key| (format!("ä{key}"), (0..key).map(|_| shape(chance)).collect()))
            .collect();
        Self {
            name: "ö".repeat(chance.below(10) as usize),
            numbers: (chance.number(), chance.number() as i64, chance.below(1_000) as f32),
            letter: char::from(chance.number() as u8),
            maybe: [None, Some(false), Some(true)][chance.below(3) as usize],
            bytes: (0..chance.below(300)).map(|_| chance.number() as u8).collect(),
            map,
        }
    }
}

/// A value that refuses to be written.
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

/// Sends each record back, and what is none as a complaint.
struct Mirror {
    parent: Parent,
}

impl Child for Mirror {
    type Arg = ();

    fn on_message(&mut self, message: Vec<u8>, _: Threads<Self>) {
        let answer = decode::<Record>(&message).map_err(|error| error.to_string());
        self.parent.send_value(&answer).expect("the parent reads");
    }
}

type Answer = Result<Record, String>;

fn start_mirror(spawner: &Spawner) -> TaskHandle {
    spawner.start(TaskConfig::new("mirror"), |parent| Mirror { parent }).expect("it starts")
}

/// The next value from the task.
fn next<T: DeserializeOwned + Debug>(task: &TaskHandle) -> Result<T, Malformed> {
    match task.receive_blocking().expect("an event").decode()? {
        TaskEvent::Message(value) => Ok(value),
        other => panic!("{other:?}"),
    }
}

/// It ends as asked, and says nothing more.
fn end(task: &TaskHandle) {
    task.stop(GRACE);
    let event = task.receive_blocking().expect("an event").decode::<Answer>();
    let Ok(TaskEvent::Exit(exit)) = event else { panic!("{event:?}") };
    assert_eq!((exit.status, exit.protocol_error), (TaskStatus::Code(0), None));
}

fn values_come_back_as_they_were() {
    let task = start_mirror(&Spawner::new());
    let mut chance = Chance::new(1);
    let rounds = if is_deep() { 100_000 } else { 500 };
    for _ in 0..rounds {
        let record = Record::by(&mut chance);
        task.send_value(&record).expect("it is sent");
        assert_eq!(next::<Answer>(&task), Ok(Ok(record)));
    }
    end(&task);
}

fn a_child_goes_on_after_what_is_malformed() {
    let task = start_mirror(&Spawner::new());
    let record = Record::by(&mut Chance::new(2));
    // Nothing, another type, and a name that is longer than the message.
    task.send(b"").expect("it is sent");
    task.send_value("text").expect("it is sent");
    task.send(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F, b'x']).expect("it is sent");
    task.send_value(&record).expect("it is sent");
    for _ in 0..3 {
        let complaint = next::<Answer>(&task).expect("an answer").expect_err("a complaint");
        assert!(complaint.contains("can't decode"), "{complaint}");
    }
    assert_eq!(next::<Answer>(&task), Ok(Ok(record)));
    end(&task);
}

fn a_malformed_message_is_an_error_of_that_task_only() {
    let spawner = Spawner::new();
    let task = start_mirror(&spawner);
    // It sends what is no answer, then one, and then whatever it gets.
    let liar = tasks::start(&spawner, |task, _| {
        task.parent.send(&[7])?;
        task.parent.send_value(&Answer::Err("sorry".to_owned()))?;
        Ok(())
    });
    let malformed = next::<Answer>(&liar).expect_err("7 is no variant");
    assert!(
        malformed.to_string().starts_with("can't decode a message of 1 bytes as "),
        "{malformed}"
    );
    assert!(malformed.to_string().contains("Record"), "{malformed}");
    assert_eq!(next::<Answer>(&liar), Ok(Err("sorry".to_owned())));
    for task in [&liar, &task] {
        let record = Record::by(&mut Chance::new(3));
        task.send_value(&record).expect("it is sent");
        if task.id() == liar.id() {
            assert_eq!(next::<Record>(task), Ok(record));
        } else {
            assert_eq!(next::<Answer>(task), Ok(Ok(record)));
        }
        end(task);
    }
}

/// What is refused leaves nothing behind.
fn a_value_is_sent_as_a_whole_or_not_at_all() {
    let config = TaskConfig::new("small").max_message(100).queue(0);
    let task = Spawner::new().start(config, |parent| Mirror { parent }).expect("it starts");
    assert_eq!(task.send_value(&Unwritable), Err(SendValueError::Unencodable));
    assert_eq!(task.send_value(&vec![b'x'; 101]), Err(SendValueError::Send(SendError::TooLong)));
    task.send_value(&Record::default()).expect("it is sent");
    assert_eq!(next::<Answer>(&task), Ok(Ok(Record::default())));
    task.stop(GRACE);
    assert_eq!(task.send_value("more"), Err(SendValueError::Send(SendError::Closed)));
    end(&task);
}

/// A queue that is full says so, and loses nothing that was taken.
fn a_full_queue_refuses_values_until_there_is_room() {
    let task = tasks::start(&Spawner::new(), |_, _| {
        // Longer than it takes to fill the queue and the socket.
        std::thread::sleep(Duration::from_millis(200));
        Ok(())
    });
    let value = vec![5_u8; 60_000];
    let mut sent = 0;
    let refused = loop {
        match task.send_value(&value) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, SendValueError::Send(SendError::Full));
    for _ in 0..sent {
        assert_eq!(next::<Vec<u8>>(&task).as_ref(), Ok(&value));
    }
    task.send_value(&value).expect("there is room again");
    assert_eq!(next(&task), Ok(value));
    end(&task);
}

fn a_value_has_all_bytes_of_its_message() {
    assert_eq!(decode::<u8>(&[7]), Ok(7));
    let rest = decode::<u8>(&[7, 8, 9]).expect_err("two too many");
    assert_eq!(rest.to_string(), "can't decode a message of 3 bytes as u8: 2 bytes are left over");
    let nothing = decode::<u8>(&[]).expect_err("none");
    assert!(
        nothing.to_string().starts_with("can't decode a message of 0 bytes as u8: "),
        "{nothing}"
    );
    assert_eq!(decode::<(&str, &[u8])>(&[2, b'h', b'i', 1, 9]), Ok(("hi", &[9][..])));
    let exit: Box<dyn Error> = nothing.into();
    assert!(exit.source().is_none());
}

/// Bytes of any kind: no panic, and no more memory than the message can fill.
fn whatever_comes_is_a_value_or_malformed() {
    let mut chance = Chance::new(4);
    let rounds = if is_deep() { 1_000_000 } else { 20_000 };
    let mut malformed = 0;
    for _ in 0..rounds {
        let bytes: Vec<u8> = (0..chance.below(64)).map(|_| chance.number() as u8).collect();
        malformed += u32::from(decode::<Record>(&bytes).is_err());
    }
    assert!(malformed > rounds / 2);
    // It promises 2^63 strings.
    let mut promise = vec![0xFF; 9];
    promise.push(0);
    let before = kpt_tests::sys::resident_bytes();
    assert!(decode::<Vec<String>>(&promise).is_err());
    assert!(kpt_tests::sys::resident_bytes() - before < 4 << 20);
}

kpt_tests::scenarios! {
    values_come_back_as_they_were,
    a_child_goes_on_after_what_is_malformed,
    a_malformed_message_is_an_error_of_that_task_only,
    a_value_is_sent_as_a_whole_or_not_at_all,
    a_full_queue_refuses_values_until_there_is_room,
    a_value_has_all_bytes_of_its_message,
    whatever_comes_is_a_value_or_malformed,
}
