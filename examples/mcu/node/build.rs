//! Chooses the machine that goes with the target: what its memory is, and `cfg(machine = "...")`. The end of the RAM is
//! neither for the linker nor for the stack: it keeps the tape over a reset.

use std::{env, fs, path::PathBuf};

fn main() {
    let target = env::var("TARGET").unwrap();
    let (machine, memory) = match target.as_str() {
        "thumbv6m-none-eabi" => ("microbit", Memory::cortex_m(256, 16, 2)),
        "thumbv7m-none-eabi" => ("lm3s6965evb", Memory::cortex_m(256, 64, 40)),
        "thumbv7em-none-eabihf" => ("mps2-an386", Memory::cortex_m(4096, 4096, 64)),
        "riscv32imc-unknown-none-elf" | "riscv32imac-unknown-none-elf" => ("virt", VIRT),
        _ => panic!("no machine is known for {target}"),
    };
    println!("cargo::rustc-cfg=machine=\"{machine}\"");
    println!(
        "cargo::rustc-check-cfg=cfg(machine, values(\"microbit\", \"lm3s6965evb\", \"mps2-an386\", \"virt\"))"
    );

    let folder = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    let aliases = if machine == "virt" { ALIASES } else { "" };
    fs::write(folder.join("memory.x"), memory.script() + aliases).unwrap();
    println!("cargo::rustc-env=RETAINED_KIB={}", memory.retained);
    println!("cargo::rustc-link-search={}", folder.display());
    println!("cargo::rustc-link-arg-bins=-Tdefmt.x");
    println!("cargo::rerun-if-changed=build.rs");
}

/// Where the memory begins, and how many KiB it has. The last ones of the RAM are retained.
struct Memory {
    flash_at: u32,
    flash: u32,
    ram_at: u32,
    ram: u32,
    retained: u32,
}

/// All of it is RAM, the first part of which stands for flash.
const VIRT: Memory =
    Memory { flash_at: 0x8000_0000, flash: 1024, ram_at: 0x8010_0000, ram: 128, retained: 64 };

const ALIASES: &str = "\
REGION_ALIAS(\"REGION_TEXT\", FLASH)
REGION_ALIAS(\"REGION_RODATA\", FLASH)
REGION_ALIAS(\"REGION_DATA\", RAM)
REGION_ALIAS(\"REGION_BSS\", RAM)
REGION_ALIAS(\"REGION_HEAP\", RAM)
REGION_ALIAS(\"REGION_STACK\", RAM)
";

impl Memory {
    fn cortex_m(flash: u32, ram: u32, retained: u32) -> Self {
        Self { flash_at: 0, flash, ram_at: 0x2000_0000, ram, retained }
    }

    fn script(&self) -> String {
        let Self { flash_at, flash, ram_at, ram, retained } = self;
        let ram = ram - retained;
        format!(
            "MEMORY {{ FLASH : ORIGIN = {flash_at}, LENGTH = {flash}K\nRAM : ORIGIN = {ram_at}, LENGTH = {ram}K }}
RETAINED = {};\n",
            ram_at + ram * 1024
        )
    }
}
