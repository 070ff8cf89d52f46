//! The contract of pollers, for each poller there is, and for each with faults around it.

use kpt_core::sim::{Faults, SimPoller, World};
use kpt_std::{SelectPoller, Source, Tasks};
use kpt_tests::contract;
use kpt_tests::process::in_own_process;
use kpt_tests::rigs::{Simulated, Sockets};

#[test]
fn the_simulator_keeps_the_contract() {
    let world = World::new();
    contract::check(&mut Simulated::new(&world, SimPoller::new(&world)));
}

#[test]
fn the_simulator_with_faults_keeps_the_contract() {
    for seed in 0..300 {
        let world = World::new();
        let poller = Faults::new(SimPoller::new(&world), seed);
        contract::check(&mut Simulated::new(&world, poller));
    }
}

#[test]
fn select_keeps_the_contract() {
    in_own_process("select_keeps_the_contract", || {
        contract::check(&mut Sockets::new(SelectPoller::new(), unwatchable()));
    });
}

#[test]
fn select_with_faults_keeps_the_contract() {
    in_own_process("select_with_faults_keeps_the_contract", || {
        for seed in 0..10 {
            let poller = Faults::new(SelectPoller::new(), seed);
            contract::check(&mut Sockets::new(poller, unwatchable()));
        }
    });
}

/// With live tasks: `tests/tasks_messages.rs`.
#[test]
fn tasks_keep_the_contract_of_what_they_are_around() {
    in_own_process("tasks_keep_the_contract_of_what_they_are_around", || {
        let world = World::new();
        contract::check(&mut Simulated::new(&world, Tasks::new(SimPoller::new(&world))));
        contract::check(&mut Sockets::new(Tasks::new(SelectPoller::new()), unwatchable()));
        for seed in 0..10 {
            let poller = Faults::new(Tasks::new(SelectPoller::new()), seed);
            contract::check(&mut Sockets::new(poller, unwatchable()));
            let poller = Tasks::new(Faults::new(SelectPoller::new(), seed));
            contract::check(&mut Sockets::new(poller, unwatchable()));
        }
    });
}

/// Closed, at the end of a small descriptor table and far beyond it, where select itself ignores what is closed;
/// beyond the limit; and what -1 and the largest number become as a source.
fn unwatchable() -> Vec<Source> {
    let numbers = [100, 1_023, 1_024, 1_500, 60_000, 65_535, 65_536, i32::MAX as u32, u32::MAX];
    numbers.map(Source::new).to_vec()
}
