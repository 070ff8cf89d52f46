//! smoke
use kpt_std::{AddError, EventLoop, Exit, Thread, source};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

struct Clock {
    ticks: u32,
}
impl Clock {
    fn on_tick(&mut self, thread: Thread<Clock>) {
        self.ticks += 1;
        if self.ticks < 3 {
            thread.again();
        }
    }
}
#[test]
fn tick() {
    let mut kpt = EventLoop::with_capacity(64);
    let t0 = Instant::now();
    kpt.threads().add_timer("tick", Duration::from_millis(20), Clock::on_tick, ()).unwrap();
    println!("{}", kpt.threads().dump());
    let mut c = Clock { ticks: 0 };
    assert_eq!(kpt.run(&mut c).unwrap(), Exit::Empty);
    assert_eq!(c.ticks, 3);
    assert!(t0.elapsed() >= Duration::from_millis(60));
    println!("{}\n{:?}", kpt.threads().dump(), t0.elapsed());
}
struct Pipe {
    a: UnixStream,
    b: UnixStream,
    n: usize,
}
#[test]
fn pipe() {
    let (a, b) = UnixStream::pair().unwrap();
    let mut kpt: EventLoop<Pipe, u8> = EventLoop::new();
    let mut s = Pipe { a, b, n: 0 };
    kpt.threads()
        .add_write(
            "w",
            source(&s.a),
            |s, t| {
                s.a.write_all(&[1]).unwrap();
                t.again();
            },
            1,
        )
        .unwrap();
    kpt.threads()
        .add_read(
            "r",
            source(&s.b),
            |s, t| {
                let mut x = [0; 10];
                s.n += s.b.read(&mut x).unwrap();
                t.again();
            },
            2,
        )
        .unwrap();
    let e = kpt.threads().add_read("r", source(&s.b), |_, _| {}, 2);
    assert!(matches!(e, Err(AddError::Taken(2))));
    kpt.threads()
        .add_timer(
            "end",
            Duration::from_millis(50),
            |s, mut t| {
                let c = t.threads().cancel_source(source(&s.a));
                assert_eq!((c.reader, c.writer), (None, Some(1)));
                t.threads().cancel_source(source(&s.b));
                t.threads().verify().unwrap();
                println!("{}", t.threads().dump());
            },
            3,
        )
        .unwrap();
    assert_eq!(kpt.run(&mut s).unwrap(), Exit::Empty);
    assert!(s.n > 100);
    println!("{}", s.n);
}
