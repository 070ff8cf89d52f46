use std::io::{Read, Write};

use kpt_std::{Listener, Stream, Thread, source};

type ServerThread<'t> = Thread<'t, Listener, Option<Stream>>;

fn on_connection(listener: &mut Listener, mut thread: ServerThread) {
    if let Ok(Some(stream)) = listener.accept() {
        let _ = thread.threads().add_read("client", source(&stream), on_client, Some(stream));
    }
    let _ = thread.again_when(listener.when());
}

fn on_client(_: &mut Listener, mut thread: ServerThread) {
    let Some(stream) = &mut thread.arg else { return };
    let mut buffer = [0; 1024];
    let Ok(count @ 1..) = stream.read(&mut buffer) else { return }; // The client has gone.
    buffer.make_ascii_uppercase();
    if stream.write(&buffer[..count]).is_ok() {
        thread.again();
    }
}
