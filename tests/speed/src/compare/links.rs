//! What messages go through: pipes and sockets, and who is at their other ends.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use kpt_speed::contestants::Contestant;
use kpt_speed::in_c::RawLink;

/// What is read from the input is written to the output.
pub struct Link {
    /// Some libraries keep what they watch.
    pub input: Rc<File>,
    /// `None` where it is the input itself.
    pub output: Option<File>,
}

impl Link {
    pub fn output(&self) -> &File {
        self.output.as_ref().unwrap_or(&self.input)
    }
}

fn to_file(descriptor: impl Into<OwnedFd>) -> Rc<File> {
    Rc::new(descriptor.into().into())
}

/// The numbers of the descriptors.
pub fn raw(links: &[Link]) -> Vec<RawLink> {
    let raw =
        |link: &Link| RawLink { input: link.input.as_raw_fd(), output: link.output().as_raw_fd() };
    links.iter().map(raw).collect()
}

/// Has no operation on them block, as some libraries demand.
pub fn unblock(links: &[Link]) -> io::Result<()> {
    for link in links {
        rustix::io::ioctl_fionbio(&link.input, true)?;
        rustix::io::ioctl_fionbio(link.output(), true)?;
    }
    Ok(())
}

/// A ring of pipes, as in libevent's benchmark, with as many bytes in it as are active.
pub fn ring(pipes: usize, active: usize) -> io::Result<Vec<Link>> {
    let (readers, mut writers): (Vec<_>, Vec<_>) =
        (0..pipes).map(|_| io::pipe()).collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
    for writer in writers.iter_mut().step_by(pipes / active) {
        writer.write_all(b"x")?;
    }
    writers.rotate_left(1);
    let link = |(reader, writer): (PipeReader, PipeWriter)| Link {
        input: to_file(reader),
        output: Some(OwnedFd::from(writer).into()),
    };
    Ok(readers.into_iter().zip(writers).map(link).collect())
}

/// A pipe with a byte that always comes back, among others that are never ready.
pub fn one_among(watched: usize) -> io::Result<Vec<Link>> {
    let mut links = ring(1, 1)?;
    let (idle, writer) = io::pipe()?;
    for _ in 1..watched {
        links.push(Link { input: to_file(idle.try_clone()?), output: None });
    }
    // Without a writer it would be ready, as at the end of a file.
    std::mem::forget(writer);
    Ok(links)
}

/// Connections to clients that send as many bytes each, all at once, and wait for all answers.
pub fn clients(count: usize, bytes: usize) -> io::Result<(Vec<Link>, Peer)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (mut links, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        ours.push(client);
        links.push(Link { input: to_file(server), output: None });
    }
    let mut message = vec![b'x'; bytes];
    let peer = Peer::new(count, move || {
        for client in &mut ours {
            client.write_all(&message)?;
        }
        ours.iter_mut().try_for_each(|client| client.read_exact(&mut message))
    });
    Ok((links, peer))
}

/// Another OS thread that sends messages and waits for answers.
pub struct Peer {
    go: Sender<usize>,
    done: Receiver<io::Result<()>>,
}

impl Peer {
    /// One that sends `size` messages in a batch.
    fn new(size: usize, mut batch: impl FnMut() -> io::Result<()> + Send + 'static) -> Self {
        let (go, work) = channel::<usize>();
        let (tell, done) = channel();
        thread::spawn(move || {
            for times in work {
                let result = (0..times / size).try_for_each(|_| batch());
                if tell.send(result).is_err() {
                    return;
                }
            }
        });
        Self { go, done }
    }
}

/// A contestant whose messages come from a peer.
pub struct WithPeer {
    pub inner: Box<dyn Contestant>,
    pub peer: Peer,
}

impl Contestant for WithPeer {
    fn run(&mut self, times: usize) {
        self.peer.go.send(times).expect("the peer lives");
        self.inner.run(times);
        self.peer.done.recv().expect("the peer lives").expect("all answers came");
    }
}
