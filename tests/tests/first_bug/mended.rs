use kpt_std::{BufferedStream, Listener, Thread, When, source};

type ServerThread<'t> = Thread<'t, Listener, Option<BufferedStream>>;

fn on_connection(listener: &mut Listener, mut thread: ServerThread) {
    while let Ok(Some(stream)) = listener.accept() {
        let client = BufferedStream::new(stream, 1024, 2048);
        let when = When::Ready(source(&client), client.wants());
        let _ = thread.threads().add("client", when, on_client, Some(client));
    }
    let _ = thread.again_when(listener.when());
}

fn on_client(_: &mut Listener, mut thread: ServerThread) {
    let Some(client) = &mut thread.arg else { return };
    if let Ok(true) = answer(client) {
        let when = When::Ready(source(client), client.wants());
        let _ = thread.again_when(when);
    }
}

/// Returns whether the client goes on.
fn answer(client: &mut BufferedStream) -> std::io::Result<bool> {
    client.fill()?;
    let (input, output) = client.input_and_output();
    let count = input.len();
    output.queue(&input.to_ascii_uppercase())?;
    client.consume(count);
    client.flush()?;
    Ok(!client.wants().is_none())
}
