//! tokio on one OS thread: a task for each link or timer, with tokio's own types for pipes and sockets.

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use kpt_speed::contestants::Contestant;
use kpt_speed::contestants::fire::SPREAD;
use kpt_speed::contestants::timers::HORIZON;
use kpt_speed::random::Random;
use rustix::fs::{FileType, fstat};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::links::Link;
use crate::relay::BUFFER;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("room for a runtime")
}

/// What is to come, for tasks that might run on any OS thread, as tokio has it.
#[derive(Default)]
struct Left {
    count: AtomicUsize,
    none: Notify,
}

impl Left {
    /// There is one OS thread, so that nothing comes between.
    fn count_one(&self) {
        let left = self.count.load(Ordering::Relaxed);
        self.count.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 1 {
            self.none.notify_one();
        }
    }
}

struct TokioRelay {
    runtime: Runtime,
    left: Arc<Left>,
}

pub fn relay(links: Vec<Link>) -> Box<dyn Contestant> {
    let (runtime, left) = (runtime(), Arc::new(Left::default()));
    let guard = runtime.enter();
    for link in links {
        let is_pipe = is_pipe(&link);
        let input = OwnedFd::from(Rc::into_inner(link.input).expect("nobody else has it"));
        let left = left.clone();
        if is_pipe {
            let input = Receiver::from_owned_fd(input).expect("it is a pipe");
            match link.output {
                Some(output) => {
                    let output = Sender::from_owned_fd(output.into()).expect("it is a pipe");
                    runtime.spawn(pass_on(input, output, left));
                }
                None => drop(runtime.spawn(pass_on(input, tokio::io::sink(), left))),
            }
        } else {
            let socket = std::net::TcpStream::from(input);
            let (input, output) =
                TcpStream::from_std(socket).expect("room in the set").into_split();
            runtime.spawn(pass_on(input, output, left));
        }
    }
    drop(guard);
    Box::new(TokioRelay { runtime, left })
}

fn is_pipe(link: &Link) -> bool {
    let stat = fstat(&link.input).expect("it is open");
    FileType::from_raw_mode(stat.st_mode) == FileType::Fifo
}

async fn pass_on(
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
    left: Arc<Left>,
) {
    let mut buffer = [0; BUFFER];
    loop {
        let length = input.read(&mut buffer).await.expect("a message is there");
        output.write_all(&buffer[..length]).await.expect("there is room");
        left.count_one();
    }
}

impl Contestant for TokioRelay {
    fn run(&mut self, times: usize) {
        self.left.count.store(times, Ordering::Relaxed);
        self.runtime.block_on(self.left.none.notified());
    }
}

/// Drops a sleep and polls another one, which arms it.
pub struct CancelAdd {
    sleeps: Vec<Pin<Box<Sleep>>>,
    start: Instant,
    random: Random,
    runtime: Runtime,
}

impl CancelAdd {
    pub fn new(pending: usize) -> Self {
        let runtime = runtime();
        let (start, mut random) = (Instant::now(), Random::new());
        let guard = runtime.enter();
        let sleeps = (0..pending).map(|_| sleep(start, &mut random)).collect();
        drop(guard);
        Self { sleeps, start, random, runtime }
    }
}

fn sleep(start: Instant, random: &mut Random) -> Pin<Box<Sleep>> {
    let deadline = start + Duration::from_micros(1 + random.below(HORIZON));
    let mut sleep = Box::pin(sleep_until(deadline));
    let mut context = Context::from_waker(Waker::noop());
    assert!(sleep.as_mut().poll(&mut context).is_pending());
    sleep
}

impl Contestant for CancelAdd {
    fn run(&mut self, times: usize) {
        let Self { sleeps, start, random, runtime } = self;
        runtime.block_on(async {
            for _ in 0..times {
                let victim = random.below(sleeps.len() as u64) as usize;
                sleeps[victim] = sleep(*start, random);
            }
        });
    }
}

/// Spawns tasks that sleep, and runs until all have woken up.
pub struct Fire {
    runtime: Runtime,
    random: Random,
}

impl Fire {
    pub fn new() -> Self {
        Self { runtime: runtime(), random: Random::new() }
    }

    fn fire(&mut self, times: usize, late: Option<Arc<Mutex<Vec<i64>>>>) {
        let left = Arc::new(Left::default());
        left.count.store(times, Ordering::Relaxed);
        let start = Instant::now();
        for _ in 0..times {
            let deadline = start + Duration::from_micros(1 + self.random.below(SPREAD));
            let (left, late) = (left.clone(), late.clone());
            self.runtime.spawn(async move {
                sleep_until(deadline).await;
                if let Some(late) = late {
                    let nanos = super::nanos_since(deadline.into_std());
                    late.lock().expect("nobody panics").push(nanos);
                }
                left.count_one();
            });
        }
        self.runtime.block_on(left.none.notified());
    }
}

impl Contestant for Fire {
    fn run(&mut self, times: usize) {
        self.fire(times, None);
    }

    fn lateness(&mut self, times: usize) -> Vec<i64> {
        let late = Arc::new(Mutex::new(Vec::with_capacity(times)));
        self.fire(times, Some(late.clone()));
        std::mem::take(&mut *late.lock().expect("nobody panics"))
    }
}
