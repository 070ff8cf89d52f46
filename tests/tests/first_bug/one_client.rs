use kpt_std::Builder;
use kpt_std::sim::{End, Limits, Sim, TestResult, check};

/// One run, in which `sim` decides on everything that the server does not do itself.
fn one_client(sim: &Sim) -> TestResult {
    let client = sim.client(7).send("hello").expect("HELLO").hang_up();

    let mut listener = sim.listen(7)?;
    let mut kpt = Builder::new().threads(8).build_on(sim.poller())?;
    kpt.threads().add_read("accept", source(&listener), on_connection, None)?;
    assert_eq!(kpt.run(&mut listener), Err(End::Idle)); // Nothing can happen any more.

    sim.always("it is answered, unless it breaks", client.is_done() || client.is_broken());
    sim.sometimes("a connection breaks", client.is_broken());
    Ok(())
}
