//! Chooses the machine that goes with the target: what its memory is, and `cfg(machine = "...")`.

use std::{env, fs, path::PathBuf};

fn main() {
    let target = env::var("TARGET").unwrap();
    let (machine, memory) = match target.as_str() {
        "thumbv6m-none-eabi" => ("microbit", cortex_m("256K", "16K")),
        "thumbv7m-none-eabi" => ("lm3s6965evb", cortex_m("256K", "64K")),
        "thumbv7em-none-eabihf" => ("mps2-an386", cortex_m("4M", "4M")),
        "riscv32imc-unknown-none-elf" | "riscv32imac-unknown-none-elf" => ("virt", VIRT.to_owned()),
        _ => panic!("no machine is known for {target}"),
    };
    println!("cargo::rustc-cfg=machine=\"{machine}\"");
    println!(
        "cargo::rustc-check-cfg=cfg(machine, values(\"microbit\", \"lm3s6965evb\", \"mps2-an386\", \"virt\"))"
    );

    let folder = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    fs::write(folder.join("memory.x"), memory).unwrap();
    println!("cargo::rustc-link-search={}", folder.display());
    println!("cargo::rustc-link-arg-bins=-Tdefmt.x");
    println!("cargo::rerun-if-changed=build.rs");
}

fn cortex_m(flash: &str, ram: &str) -> String {
    format!(
        "MEMORY {{ FLASH : ORIGIN = 0x00000000, LENGTH = {flash}\nRAM : ORIGIN = 0x20000000, LENGTH = {ram} }}\n"
    )
}

/// All of it is RAM, the first part of which stands for flash.
const VIRT: &str = "\
MEMORY { FLASH : ORIGIN = 0x80000000, LENGTH = 1M\nRAM : ORIGIN = 0x80100000, LENGTH = 64K }
REGION_ALIAS(\"REGION_TEXT\", FLASH)
REGION_ALIAS(\"REGION_RODATA\", FLASH)
REGION_ALIAS(\"REGION_DATA\", RAM)
REGION_ALIAS(\"REGION_BSS\", RAM)
REGION_ALIAS(\"REGION_HEAP\", RAM)
REGION_ALIAS(\"REGION_STACK\", RAM)
";
