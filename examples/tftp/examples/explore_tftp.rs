//! Looks for the fault of RFC 783 in all schedules of a network that loses packets, has them come twice or late; and shows
//! that the mended rules have none, with up to three packets that go wrong.

#[path = "../tests/support/explored.rs"]
mod explored;

use kpt_std::sim::{Limits, check, explore};
use kpt_tftp::transfer::Rules;

use explored::{Story, transfer};

const BLOCKS: usize = 8;

fn main() {
    let story = |rules, faults| {
        let is_write = false;
        move |sim: &kpt_std::sim::Sim| {
            transfer(sim, Story { is_write, blocks: BLOCKS, has_options: false, rules, faults })
        }
    };
    let limits = |faults| Limits::new().deviations(faults).only(&["packet"]);
    if std::env::var_os("KPT_SCHEDULE").is_some() {
        // The line that the search below prints.
        check(limits(1), story(Rules::Rfc783, 1));
        return;
    }

    println!(
        "A file of {BLOCKS} blocks, by the rules of RFC 783, until the first schedule that fails:\n"
    );
    println!("{}\n", explore(limits(1), story(Rules::Rfc783, 1)));
    for faults in 1..=2 {
        let all = explore(limits(faults).count_failures(), story(Rules::Rfc783, faults));
        println!("with up to {faults}: {} of {} schedules fail", all.failing, all.schedules);
    }

    println!("\nBy the rules of RFC 1123:\n");
    for faults in 1..=3 {
        println!("{}\n", explore(limits(faults), story(Rules::Rfc1123, faults)));
    }
}
