//! What one gets wrong in a first test of one's own is told, with what to do.

use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kpt_std::sim::{End, Limits, Sim, TestResult, check, explore};
use kpt_std::{Builder, EventLoop, Listener, SelectPoller, Thread, source};
use kpt_tests::time::millis;

/// Returns the text with which `check` panics.
fn told(limits: Limits, test: impl Fn(&Sim) -> TestResult) -> String {
    let result = catch_unwind(AssertUnwindSafe(|| check(limits, test)));
    *result.expect_err("it fails").downcast::<String>().expect("a panic has a text")
}

fn on_connection(listener: &mut Listener, thread: Thread<Listener>) {
    while let Ok(Some(_)) = listener.accept() {}
    let _ = thread.again_when(listener.when());
}

#[test]
fn a_simulated_listener_on_a_real_loop() {
    let text = told(Limits::new(), |sim| {
        let mut listener = sim.listen(7)?;
        let mut kpt = EventLoop::new()?;
        kpt.threads().add("accept", listener.when(), on_connection, ())?;
        kpt.threads().add_timer("end", millis(1), |_, mut thread| thread.threads().stop(), ())?;
        kpt.run(&mut listener)?;
        Ok(())
    });
    assert!(
        text.starts_with("a thread waits for a simulated source, and its loop is not"),
        "{text}"
    );
    assert!(text.contains("use `Builder::build_on(sim.poller())`"), "{text}");
    let report = explore(Limits::new(), |sim| {
        let mut listener = sim.listen(7)?;
        let mut kpt = Builder::new().threads(4).build_on(SelectPoller::new())?;
        kpt.threads().add("accept", listener.when(), on_connection, ())?;
        kpt.threads().add_timer("end", millis(1), |_, mut thread| thread.threads().stop(), ())?;
        kpt.run(&mut listener)?;
        Ok(())
    });
    assert!(report.failure.is_some());
}

#[test]
fn a_real_descriptor_on_a_simulated_loop() {
    let text = told(Limits::new(), |sim| {
        let (stream, _other) = UnixStream::pair()?;
        let mut kpt = Builder::new().threads(4).build_on(sim.poller())?;
        kpt.threads().add_read("real", source(&stream), |_, thread| thread.again(), ())?;
        kpt.run(&mut ())?;
        Ok(())
    });
    assert!(
        text.starts_with("a thread of a simulated loop waits for what is not simulated"),
        "{text}"
    );
}

#[test]
fn a_run_that_ends_since_all_wait() {
    let text = told(Limits::new(), |sim| {
        let _client = sim.client(7).send("hello\n").expect("hello\n").hang_up();
        let mut listener = sim.listen(7)?;
        let mut kpt = Builder::new().threads(4).build_on(sim.poller())?;
        kpt.threads().add("accept", listener.when(), on_connection, ())?;
        kpt.run(&mut listener)?;
        Ok(())
    });
    assert!(text.contains("with Err(End::Idle)"), "{text}");
    assert!(text.contains(r#"client 1 expects "hello\n", after """#), "{text}");
}

#[test]
fn a_client_of_another_port() {
    let text = told(Limits::new(), |sim| {
        let client = sim.client(8).send("hello").expect("hello");
        let mut listener = sim.listen(7)?;
        let mut kpt = Builder::new().threads(4).build_on(sim.poller())?;
        kpt.threads().add("accept", listener.when(), on_connection, ())?;
        assert_eq!(kpt.run(&mut listener), Err(End::Idle));
        assert!(client.is_broken() && client.is_closed());
        sim.always("it is served", client.is_done());
        Ok(())
    });
    assert!(text.contains("client 1 connects to port 8, where no listener is"), "{text}");
}

/// With a name that does not exist, all that is left out would be all.
#[test]
fn a_name_in_only_that_nothing_has() {
    let decides = |sim: &Sim| {
        sim.choose("read", 1, &["all", "not-yet"]);
        Ok(())
    };
    for wrong in ["reed", "read=not-jet"] {
        let text = told(Limits::new().only(&[wrong]), decides);
        assert!(text.starts_with(&format!("no decision matches {wrong:?}")), "{text}");
        assert!(text.contains("decisions at read: not-yet"), "{text}");
    }
    for right in ["read", "read=not-yet"] {
        assert_eq!(check(Limits::new().only(&[right]), decides).by_deviations, [1, 1]);
    }
}
