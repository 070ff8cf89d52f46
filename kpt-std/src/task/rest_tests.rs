//! Tries all short histories of a socket, its task, and another process that holds the task's end.

use super::*;

/// The size of a write of the task, and of the other process.
const OWN: usize = LARGEST_READ / 2 + 1;
const OTHER: usize = LARGEST_READ + 7;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The task writes, if it lives.
    Own,
    /// The other process writes, if it has not closed its end.
    Other,
    /// The other process closes its end.
    OtherCloses,
    /// The task ends; its parent is told, and reads.
    Ends,
    /// A wait finds the socket readable, if it is and there is room.
    Wait,
    /// The queue of the reader is full from now on, or has room again.
    Full,
    Room,
    /// There is no memory for the next read.
    NoMemory,
}

const EVENTS: [Event; 8] = [
    Event::Own,
    Event::Other,
    Event::OtherCloses,
    Event::Ends,
    Event::Wait,
    Event::Full,
    Event::Room,
    Event::NoMemory,
];

/// The socket, and what has happened to it.
#[derive(Clone)]
struct World {
    rest: Rest,
    /// The bytes in the socket, and whether the task has written them.
    queue: Vec<(bool, usize)>,
    has_ended: bool,
    has_other: bool,
    has_room: bool,
    has_memory: bool,
    is_closed: bool,
    /// The bytes that lay there at the end, and those that were read after it.
    at_end: usize,
    read_after_end: usize,
    own_written: usize,
    own_read: usize,
}

impl World {
    fn new(has_other: bool) -> Self {
        Self {
            rest: Rest::Unknown,
            queue: Vec::new(),
            has_ended: false,
            has_other,
            has_room: true,
            has_memory: true,
            is_closed: false,
            at_end: 0,
            read_after_end: 0,
            own_written: 0,
            own_read: 0,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Own if !self.has_ended => {
                self.own_written += OWN;
                self.queue.push((true, OWN));
            }
            Event::Other if self.has_other => self.queue.push((false, OTHER)),
            Event::OtherCloses => self.has_other = false,
            Event::Ends if !self.has_ended => {
                self.has_ended = true;
                self.at_end = self.lying();
                self.rest.on_ended();
                self.work();
            }
            Event::Wait if self.is_readable() && self.has_room => self.work(),
            Event::Full => self.has_room = false,
            Event::Room => self.has_room = true,
            Event::NoMemory => self.has_memory = false,
            Event::Own | Event::Other | Event::Ends | Event::Wait => {}
        }
    }

    fn lying(&self) -> usize {
        self.queue.iter().map(|(_, count)| count).sum()
    }

    fn is_at_end(&self) -> bool {
        self.has_ended && !self.has_other
    }

    fn is_readable(&self) -> bool {
        !self.is_closed && (!self.queue.is_empty() || self.is_at_end())
    }

    /// Takes the steps of one wait.
    fn work(&mut self) {
        let (mut reads, mut steps) = (0, 0);
        while let Some(step) = self.rest.step(self.has_room, reads == 0) {
            steps += 1;
            assert!(steps < 5, "it does not come to rest");
            match step {
                Step::Read(most) => {
                    reads += 1;
                    let read = self.read(most);
                    self.rest.on_read(read);
                }
                Step::Count => self.rest.on_count(self.lying()),
                Step::Close => {
                    self.is_closed = true;
                    self.rest.on_close();
                }
            }
        }
    }

    fn read(&mut self, most: usize) -> Read {
        assert!(self.has_room && !self.is_closed && most > 0 && most <= LARGEST_READ);
        if !std::mem::replace(&mut self.has_memory, true) {
            return Read::NotNow;
        }
        let mut count = 0;
        while count < most && !self.queue.is_empty() {
            let (is_own, there) = &mut self.queue[0];
            let taken = (*there).min(most - count);
            self.own_read += if *is_own { taken } else { 0 };
            *there -= taken;
            count += taken;
            if *there == 0 {
                self.queue.remove(0);
            }
        }
        self.read_after_end += if self.has_ended { count } else { 0 };
        match count {
            0 if self.is_at_end() => {
                self.is_closed = true;
                Read::End
            }
            0 => Read::Nothing,
            count => Read::Bytes(count),
        }
    }

    fn check(&self) {
        // All are counted in the wait that finds the end.
        assert!(self.read_after_end <= self.at_end);
        if self.is_closed {
            assert!(self.has_ended, "closed while the task lives");
            assert_eq!(self.own_read, self.own_written, "words of the task are lost");
        }
        assert_eq!(self.is_closed, self.rest == Rest::Over);
        if self.has_ended && !self.is_closed {
            // Bytes are what it waits for, or the end, so that a wait will find it.
            assert!(self.is_readable(), "it waits for what never comes: {:?}", self.rest);
        }
    }

    /// Whatever has happened: once the task has ended and its parent receives, it comes to an end soon, although the
    /// other process goes on writing.
    fn check_end(mut self) {
        self.has_room = true;
        self.happen(Event::Ends);
        let most = self.lying() / LARGEST_READ + 3;
        for waits in 0.. {
            self.check();
            if self.is_closed {
                return;
            }
            assert!(waits <= most, "it goes on reading");
            self.happen(Event::Other);
            self.happen(Event::Wait);
        }
    }
}

fn go_on(world: &World, left: u32) -> u64 {
    world.check();
    world.clone().check_end();
    if left == 0 {
        return 1;
    }
    let continued = EVENTS.iter().map(|&event| {
        let mut world = world.clone();
        world.happen(event);
        go_on(&world, left - 1)
    });
    1 + continued.sum::<u64>()
}

#[test]
fn r26_all_short_histories_come_to_an_end_and_lose_nothing() {
    let expected: u64 = (0..=6).map(|length| 8_u64.pow(length)).sum();
    assert_eq!(go_on(&World::new(true), 6), expected);
    assert_eq!(go_on(&World::new(false), 6), expected);
}
