//! RISC-V: the core knows three interrupts. One is for software, one is for the timer (see `machine::mtime`), and one comes
//! from a controller that says which peripheral it is.

use riscv::asm::wfi;
use riscv::interrupt;
use riscv_rt::{TrapFrame, core_interrupt};

pub use riscv_rt::entry;

use crate::registers::Registers;
use crate::{exit, on_interrupt};

/// An interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    Software,
    /// Of a peripheral, with its number at the controller (PLIC).
    Peripheral(u16),
}

// SAFETY: the registers of the software interrupt are there.
const SOFTWARE: Registers = unsafe { Registers::at(0x0200_0000) };

// SAFETY: the controller's registers are there, and these are the parts that are used.
const PRIORITIES: Registers = unsafe { Registers::at(0x0C00_0000) };
// SAFETY: as before.
const ENABLED: Registers = unsafe { Registers::at(0x0C00_2000) };
// SAFETY: as before.
const CONTEXT: Registers = unsafe { Registers::at(0x0C20_0000) };
const CONTEXT_CLAIM: usize = 4;

// SAFETY: the register that ends the machine's run is there.
const FINISHER: Registers = unsafe { Registers::at(0x0010_0000) };
const FINISHER_RESET: u32 = 0x7777;

impl Interrupt {
    pub fn enable(self) {
        let of_core = match self {
            Self::Software => interrupt::Interrupt::MachineSoft,
            Self::Peripheral(number) => {
                let (word, bit) = (usize::from(number / 32) * 4, 1 << (number % 32));
                PRIORITIES.write(usize::from(number) * 4, 1);
                ENABLED.write(word, ENABLED.read(word) | bit);
                interrupt::Interrupt::MachineExternal
            }
        };
        // SAFETY: no critical section of this program rests on a masked interrupt.
        unsafe { interrupt::enable_interrupt(of_core) };
    }

    /// Has it come now. Only the software interrupt can be raised.
    pub fn pend(self) {
        assert_eq!(self, Self::Software);
        SOFTWARE.write(0, 1);
    }
}

/// Begins anew.
pub fn reset() -> ! {
    FINISHER.write(0, FINISHER_RESET);
    loop {
        wait_for_interrupt();
    }
}

/// Calls `f` with interrupts masked.
pub(crate) fn without_interrupts(f: impl FnOnce()) {
    interrupt::free(f);
}

/// Returns when an interrupt is pending, also if it is masked.
pub(crate) fn wait_for_interrupt() {
    wfi();
}

#[core_interrupt(interrupt::Interrupt::MachineSoft)]
fn on_software() {
    SOFTWARE.write(0, 0);
    on_interrupt(Interrupt::Software);
}

#[core_interrupt(interrupt::Interrupt::MachineExternal)]
fn on_peripheral() {
    let number = CONTEXT.read(CONTEXT_CLAIM);
    if number != 0 {
        on_interrupt(Interrupt::Peripheral(number as u16));
        CONTEXT.write(CONTEXT_CLAIM, number);
    }
}

#[unsafe(no_mangle)]
extern "C" fn ExceptionHandler(_: &TrapFrame) -> ! {
    exit(false)
}
