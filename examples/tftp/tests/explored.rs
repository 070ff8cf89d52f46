//! Server and client under all schedules in which a few packets are lost, come twice, or late.

#[path = "support/explored.rs"]
mod explored;

use kpt_std::sim::{Limits, check, explore};
use kpt_tftp::transfer::Rules;

use explored::{Story, transfer};

const STORY: Story =
    Story { is_write: false, blocks: 5, has_options: false, rules: Rules::Rfc1123, faults: 1 };

/// Packets only: when a loop runs changes nothing that this is about.
fn limits(faults: usize) -> Limits {
    Limits::new().deviations(faults).only(&["packet"])
}

#[test]
fn the_fault_of_rfc_783_is_found() {
    let old = Story { rules: Rules::Rfc783, blocks: 8, ..STORY };
    let report = explore(limits(1), |sim| transfer(sim, old));
    let failure = report.failure.as_ref().expect("it is there");
    assert!(failure.message.contains("too many blocks"), "{report}");
    assert_eq!(failure.schedule.len(), 1, "{report}");
    let all = explore(limits(1).count_failures(), |sim| transfer(sim, old));
    println!("{} of {} schedules with one deviation fail", all.failing, all.by_deviations[1]);
    assert!(all.failing > 5, "{all}");
}

#[test]
fn a_file_is_read_whole_with_two_deviations() {
    let report = check(limits(2), |sim| transfer(sim, Story { faults: 2, ..STORY }));
    println!("{report}");
    assert!(report.is_complete, "{report}");
}

#[test]
fn a_file_is_written_whole_with_two_deviations() {
    let story = Story { is_write: true, faults: 2, blocks: 3, ..STORY };
    check(limits(2), |sim| transfer(sim, story));
}

#[test]
fn options_are_agreed_on_with_two_deviations() {
    for is_write in [false, true] {
        let story = Story { is_write, has_options: true, faults: 2, blocks: 3, ..STORY };
        check(limits(2), |sim| transfer(sim, story));
    }
}

/// All that can go wrong, not packets only: the loop wakes late, is told late of what is ready, or in another order.
#[test]
fn whatever_the_loop_does_the_file_is_whole() {
    check(Limits::new().deviations(1), |sim| transfer(sim, Story { blocks: 3, ..STORY }));
}

/// In a network as bad as this, transfers are given up now and then. They end, and what is complete is whole.
#[test]
fn a_bad_network_spoils_no_file() {
    for is_write in [false, true] {
        let story = Story { is_write, has_options: true, faults: usize::MAX, ..STORY };
        check(Limits::new().deviations(0).walks(500, 3), |sim| transfer(sim, story));
    }
}
