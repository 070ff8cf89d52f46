//! Mailboxes: each order of operations against a model, the loop that serves one, and two OS threads.
//!
//! `post` and `take` are one critical section each, so orders of whole operations are all orders that there are: an
//! interrupt comes before or after one. That they are one, the OS threads show.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant as Moment};

use kpt_core::board::{Board, Buffer, LinePoller, Lines, Mailbox};
use kpt_core::{Exit, FixedLoop, Instant, Source, Thread};

/// Each order of 12 operations on a mailbox for two values: a post, a take, and a look of the loop's, which runs a
/// hook that takes all if the line is set.
#[test]
fn a_mailbox_is_a_queue_whose_line_is_set_while_it_has_something() {
    let (lines, mailbox) = leaked::<2>();
    for number in 0..3_u32.pow(12) {
        let mut model = VecDeque::new();
        for step in 0..12 {
            match number / 3_u32.pow(step) % 3 {
                0 if model.len() < 2 => {
                    model.push_back(step);
                    assert_eq!(mailbox.post(step), Ok(()));
                }
                0 => assert_eq!(mailbox.post(step), Err(step)),
                1 => assert_eq!(mailbox.take(), model.pop_front()),
                _ if lines.is_set(mailbox.source()) => {
                    while let Some(value) = mailbox.take() {
                        assert_eq!(Some(value), model.pop_front());
                    }
                    assert!(model.is_empty());
                }
                _ => assert!(
                    model.is_empty(),
                    "order {number}: the loop sleeps, with something to do"
                ),
            }
            assert_eq!(lines.is_set(mailbox.source()), !model.is_empty(), "order {number}");
        }
        while mailbox.take().is_some() {}
    }
}

#[test]
fn a_mailbox_whose_line_is_not_there_is_a_queue() {
    let lines: &Lines<1> = Box::leak(Box::default());
    let mailbox = Mailbox::<_, 1>::new(lines, Source::new(1), Box::leak(Box::new(Buffer::new())));
    assert_eq!(mailbox.post(7), Ok(()));
    assert_eq!(mailbox.post(8), Err(8));
    assert_eq!(mailbox.take(), Some(7));
    assert_eq!(mailbox.take(), None);
    assert!(!lines.is_set(Source::new(0)));
}

/// An interrupt handler that comes in each sleep, and while the hook takes, up to a number.
struct Bench {
    lines: &'static Lines<1>,
    mailbox: &'static Mailbox<u32, 4>,
    posted: u32,
}

impl Board<1> for Bench {
    const TICK_MICROS: u32 = 1;

    fn lines(&self) -> &'static Lines<1> {
        self.lines
    }

    fn now(&mut self) -> Instant {
        Instant::ZERO
    }

    fn sleep(&mut self, _until: Instant, is_awake: &dyn Fn() -> bool) {
        assert!(!is_awake());
        self.posted += 1;
        self.mailbox.post(10 * self.posted).unwrap();
    }
}

#[test]
fn a_hook_runs_once_for_what_has_been_posted_and_never_for_nothing() {
    struct App {
        mailbox: &'static Mailbox<u32, 4>,
        taken: Vec<Vec<u32>>,
    }

    fn on_mail(app: &mut App, mut thread: Thread<App>) {
        let mut taken = Vec::new();
        while let Some(value) = app.mailbox.take() {
            taken.push(value);
            if value % 10 == 0 {
                app.mailbox.post(value + 1).unwrap(); // An interrupt, after the last has been taken.
            }
        }
        app.taken.push(taken);
        if app.taken.len() == 3 {
            thread.threads().stop();
        }
        thread.again();
    }

    let (lines, mailbox) = leaked();
    let board = Bench { lines, mailbox, posted: 0 };
    let mut kpt = FixedLoop::<_, _, 1>::new(LinePoller::new(board));
    kpt.threads().add_read("mail", mailbox.source(), on_mail, ()).unwrap();
    let mut app = App { mailbox, taken: Vec::new() };
    assert_eq!(kpt.run(&mut app), Ok(Exit::Stopped));
    assert_eq!(app.taken, [[10, 11], [20, 21], [30, 31]]);
}

/// Two that post, and one that looks at nothing but the line: if a wake-up is lost when the mailbox is full, all three
/// wait for ever.
#[test]
fn nothing_is_lost_between_os_threads() {
    const POSTS: u32 = 300_000;
    let (lines, mailbox) = leaked::<3>();
    let posters = [0, 1].map(|poster| {
        thread::spawn(move || {
            for number in 0..POSTS {
                while mailbox.post(2 * number + poster).is_err() {
                    thread::yield_now();
                }
            }
        })
    });

    let mut next = [0; 2];
    let mut last_mail = Moment::now();
    while next != [POSTS; 2] {
        if !lines.is_set(mailbox.source()) {
            assert!(last_mail.elapsed() < Duration::from_secs(20), "a wake-up was lost: {next:?}");
            thread::yield_now();
            continue;
        }
        let first = mailbox.take().expect("the line was set, and nobody else takes");
        for value in std::iter::once(first).chain(std::iter::from_fn(|| mailbox.take())) {
            let next = &mut next[(value % 2) as usize];
            assert_eq!(value / 2, *next);
            *next += 1;
        }
        last_mail = Moment::now();
    }
    for poster in posters {
        poster.join().unwrap();
    }
    assert!(!lines.is_set(mailbox.source()));
}

fn leaked<const N: usize>() -> (&'static Lines<1>, &'static Mailbox<u32, N>) {
    let lines = Box::leak(Box::default());
    let buffer = Box::leak(Box::default());
    (lines, Box::leak(Box::new(Mailbox::new(lines, Source::new(0), buffer))))
}
