//! RISC-V as QEMU's machine `virt` has it: the machine timer is the clock. There is one interrupt that software can
//! raise, and a word that says which of the program's have come.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

use riscv::interrupt::{self, Interrupt};
use riscv_rt::{TrapFrame, post_init};

pub use riscv::asm::wfi;
pub use riscv_rt::entry;

use crate::{GROUPS, fail};

/// What the stack is filled with before the program starts.
pub(crate) const STACK_PAINT: u32 = 0xCCCC_CCCC;

const SOFTWARE_INTERRUPT: *mut u32 = 0x0200_0000 as *mut u32;
/// When the timer interrupts, in two words.
const DEADLINE: *mut u32 = 0x0200_4000 as *mut u32;
const MILLISECOND: u64 = 10_000;

/// A bit for each interrupt that has come.
static RAISED: AtomicU32 = AtomicU32::new(0);

/// Calls the first function each millisecond, and the second one with the number of each interrupt.
#[macro_export]
macro_rules! handlers {
    ($on_tick:path, $on_interrupt:path) => {
        #[allow(non_snake_case)]
        #[unsafe(no_mangle)]
        extern "C" fn MachineTimer() {
            $crate::next_millisecond();
            $on_tick();
        }

        #[allow(non_snake_case)]
        #[unsafe(no_mangle)]
        extern "C" fn MachineSoft() {
            $crate::take_interrupts($on_interrupt);
        }
    };
}

/// Starts clock and interrupts.
pub fn start() {
    next_millisecond();
    // SAFETY: a program calls this where it relies on no critical section.
    unsafe {
        interrupt::enable_interrupt(Interrupt::MachineTimer);
        interrupt::enable_interrupt(Interrupt::MachineSoft);
        interrupt::enable();
    }
}

/// Has the timer interrupt a millisecond after the last time, the first of which is power on.
pub fn next_millisecond() {
    let high = DEADLINE.wrapping_add(1);
    // SAFETY: both registers are there, and are no memory that Rust knows of. The upper word first: what they say in
    // between is too late and not too early.
    unsafe {
        let last = u64::from(high.read_volatile()) << 32 | u64::from(DEADLINE.read_volatile());
        let next = last.wrapping_add(MILLISECOND);
        high.write_volatile((next >> 32) as u32);
        DEADLINE.write_volatile(next as u32);
    }
}

/// Lets all interrupts come.
pub fn raise_interrupts() {
    RAISED.store((1 << GROUPS) - 1, Ordering::Relaxed);
    set_software_interrupt(true);
}

/// Calls a function with the number of each interrupt that has come.
pub fn take_interrupts(on_interrupt: fn(usize)) {
    set_software_interrupt(false);
    let raised = RAISED.load(Ordering::Relaxed);
    RAISED.store(0, Ordering::Relaxed);
    (0..GROUPS).filter(|line| raised >> line & 1 != 0).for_each(on_interrupt);
}

fn set_software_interrupt(is_raised: bool) {
    // SAFETY: the register is there, and is no memory that Rust knows of.
    unsafe { SOFTWARE_INTERRUPT.write_volatile(u32::from(is_raised)) };
}

/// Where the stack may end, and where it starts, which is above.
pub(crate) fn stack() -> (*const u32, *const u32) {
    unsafe extern "C" {
        static _stack_start: u32;
    }
    // There is no heap, so the stack may reach down to where it would start.
    (riscv_rt::heap_start().cast(), &raw const _stack_start)
}

/// Runs before `main`, as the runtime of Cortex-M has it. In assembly, since it must not use the stack itself.
#[post_init]
fn paint_stack() {
    // SAFETY: it fills memory below the stack pointer, which nobody uses while there are no interrupts.
    unsafe {
        asm!(
            "1: sw {paint}, 0({at})",
            "addi {at}, {at}, 4",
            "bltu {at}, sp, 1b",
            paint = in(reg) STACK_PAINT,
            at = inout(reg) stack().0 => _,
            options(nostack),
        );
    }
}

#[unsafe(no_mangle)]
extern "C" fn ExceptionHandler(_: &TrapFrame) -> ! {
    fail()
}
