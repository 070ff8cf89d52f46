//! Numbers without rhyme, equal for equal seeds.

/// SplitMix64.
#[derive(Clone, Copy, Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }

    pub fn one_in(&mut self, chances: u32) -> bool {
        self.below(chances) == 0
    }

    pub fn of<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[self.below(choice.len() as u32) as usize]
    }
}

/// The seed of this run: `KPT_SEED`, or another one each time.
pub fn seed() -> u64 {
    number("KPT_SEED").unwrap_or_else(|| {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Chance(time.map_or(0, |time| time.as_nanos() as u64)).next()
    })
}

/// What the environment says under that name, if it is a number.
pub fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?} and not a number")))
}
