//! The contract of pollers for the one of `examples/tiny`, which is not in this workspace.

use kpt_core::Source;
use kpt_tests::contract;
use kpt_tests::process::in_own_process;
use kpt_tests::rigs::Sockets;

#[path = "../../examples/tiny/src/poll.rs"]
mod poll;
#[path = "../../examples/tiny/src/sys.rs"]
#[allow(dead_code)]
mod sys;

use poll::PollPoller;

#[test]
fn the_poller_of_the_tiny_example_keeps_the_contract() {
    in_own_process("the_poller_of_the_tiny_example_keeps_the_contract", || {
        let unwatchable = [100, 60_000, i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX];
        let poller = PollPoller::<8>;
        contract::check(&mut Sockets::new(poller, unwatchable.map(Source::new).to_vec()));
    });
}
