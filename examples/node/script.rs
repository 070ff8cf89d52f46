//! The world around the node, simulated: the same in the simulator, on Linux and on a microcontroller.
//!
//! Whatever happens is at least two milliseconds away from the node's own deadlines, so that the order of things does
//! not depend on how fast a machine is.

use core::time::Duration;

/// How often the button is pressed.
pub const PRESSES: u32 = 10;
/// The number of edges of a press.
pub const BOUNCES: u32 = 3;
pub const EDGES: u32 = PRESSES * BOUNCES;

/// What is typed at the console.
pub const COMMAND: &[u8] = b"dump\n";
pub const COMMAND_AT: Duration = Duration::from_micros(5_006_300);

const FIRST_PRESS: Duration = Duration::from_micros(906_300);
const PRESS_PERIOD: Duration = Duration::from_micros(900_000);
const BOUNCE_PERIOD: Duration = Duration::from_micros(600);

/// The moment of the button's edge `number`, from the start of the node.
pub fn edge(number: u32) -> Option<Duration> {
    (number < EDGES).then(|| {
        let (press, bounce) = (number / BOUNCES, number % BOUNCES);
        FIRST_PRESS + PRESS_PERIOD * press + BOUNCE_PERIOD * bounce
    })
}

/// What the sensor says the `number`th time: ten bits of noise.
pub fn sensor(number: u32) -> u16 {
    (number.wrapping_mul(2_654_435_761) >> 22) as u16
}
