//! Who takes part: kpt, and what std has to do the same. The sides in C are in `in_c.rs`.

pub mod fire;
pub mod heaps;
pub mod periodic;
pub mod rings;
pub mod timers;

/// Something that can be done so many times, on one side.
pub trait Contestant {
    /// Does it so many times. This is what is measured.
    fn run(&mut self, times: usize);

    /// By how many nanoseconds each timer is late, in one more run that is not measured: looking at the clock in each hook
    /// would count. Nothing where no timer fires.
    fn lateness(&mut self, _times: usize) -> Vec<i64> {
        Vec::new()
    }
}

/// The value in the middle.
pub fn median<T: Copy + PartialOrd>(values: &mut [T]) -> Option<T> {
    values.sort_by(|one, other| one.partial_cmp(other).expect("numbers can be compared"));
    values.get(values.len() / 2).copied()
}
