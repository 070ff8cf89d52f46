//! The contract of pollers, for each poller there is, and for each with faults around it.

use std::time::Duration;

use kpt_core::sim::{Faults, SimPoller, World};
use kpt_std::sim::Sim;
use kpt_std::{EpollPoller, Source, Tasks};
use kpt_tests::bench::Machine;
use kpt_tests::pollers::{Calls, Counting};
use kpt_tests::process::in_own_process;
use kpt_tests::real::Backend;
use kpt_tests::rigs::{Interrupts, Simulated, Sockets};
use kpt_tests::{contract, wrapper};

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
fn select_and_epoll_keep_the_contract() {
    in_own_process("select_and_epoll_keep_the_contract", || {
        for backend in Backend::both() {
            contract::check(&mut Sockets::new(backend.poller(), unwatchable()));
        }
    });
}

#[test]
fn an_epoll_that_spins_keeps_the_contract() {
    in_own_process("an_epoll_that_spins_keeps_the_contract", || {
        for micros in [1, 100, 10_000] {
            let poller = EpollPoller::new().expect("epoll");
            let poller = poller.spin_before_sleep(Duration::from_micros(micros));
            contract::check(&mut Sockets::new(poller, unwatchable()));
        }
    });
}

#[test]
fn select_and_epoll_with_faults_keep_the_contract() {
    in_own_process("select_and_epoll_with_faults_keep_the_contract", || {
        for backend in Backend::both() {
            for seed in 0..10 {
                let poller = Faults::new(backend.poller(), seed);
                contract::check(&mut Sockets::new(poller, unwatchable()));
            }
        }
    });
}

/// With live tasks: `tests/tasks_messages.rs`.
#[test]
fn tasks_keep_the_contract_of_what_they_are_around() {
    in_own_process("tasks_keep_the_contract_of_what_they_are_around", || {
        let world = World::new();
        contract::check(&mut Simulated::new(&world, Tasks::new(SimPoller::new(&world))));
        for backend in Backend::both() {
            contract::check(&mut Sockets::new(Tasks::new(backend.poller()), unwatchable()));
            for seed in 0..10 {
                let poller = Faults::new(Tasks::new(backend.poller()), seed);
                contract::check(&mut Sockets::new(poller, unwatchable()));
                let poller = Tasks::new(Faults::new(backend.poller(), seed));
                contract::check(&mut Sockets::new(poller, unwatchable()));
            }
        }
    });
}

/// With a clock that counts microseconds, and with a coarse one.
#[test]
fn lines_keep_the_contract() {
    let machine = Machine::new();
    contract::check(&mut Interrupts::new(&machine, machine.poller::<1>()));
    let machine = Machine::new();
    contract::check(&mut Interrupts::new(&machine, machine.poller::<10_000>()));
}

#[test]
fn lines_with_faults_keep_the_contract() {
    for seed in 0..300 {
        let machine = Machine::new();
        let poller = Faults::new(machine.poller::<1>(), seed);
        contract::check(&mut Interrupts::new(&machine, poller));
        let machine = Machine::new();
        let poller = Faults::new(machine.poller::<10_000>(), seed);
        contract::check(&mut Interrupts::new(&machine, poller));
    }
}

#[test]
fn r40_tasks_forward_everything() {
    wrapper::check(Tasks::new);
}

#[test]
fn r40_faults_forward_everything() {
    for seed in 0..300 {
        wrapper::check(|inner| Faults::new(inner, seed));
    }
}

/// What a search for faults puts around a poller.
#[test]
fn r40_observed_pollers_forward_everything() {
    wrapper::check(|inner| Sim::new().observe(inner));
    wrapper::check(|inner| Faults::with(inner, Sim::new()));
}

/// The one that tests use.
#[test]
fn r40_counting_forwards_everything() {
    let calls = Calls::default();
    wrapper::check(|inner| Counting::<_, 77>::new(inner, &calls));
}

/// Closed, at the end of a small descriptor table and far beyond it, where select itself ignores what is closed;
/// beyond the limit; and what -1 and the largest number become as a source.
fn unwatchable() -> Vec<Source> {
    let numbers = [100, 1_023, 1_024, 1_500, 60_000, 65_535, 65_536, i32::MAX as u32, u32::MAX];
    numbers.map(Source::new).to_vec()
}
