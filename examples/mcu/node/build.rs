//! Chooses the machine that goes with the target: what its memory is, and `cfg(machine = "...")`.

use std::{env, fs, path::PathBuf};

fn main() {
    let target = env::var("TARGET").unwrap();
    let (machine, flash, ram) = match target.as_str() {
        "thumbv6m-none-eabi" => ("microbit", "256K", "16K"),
        "thumbv7m-none-eabi" => ("lm3s6965evb", "256K", "64K"),
        "thumbv7em-none-eabihf" => ("mps2-an386", "4M", "4M"),
        _ => panic!("no machine is known for {target}"),
    };
    println!("cargo::rustc-cfg=machine=\"{machine}\"");
    println!(
        "cargo::rustc-check-cfg=cfg(machine, values(\"microbit\", \"lm3s6965evb\", \"mps2-an386\"))"
    );

    let folder = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    let memory = format!(
        "MEMORY {{ FLASH : ORIGIN = 0x00000000, LENGTH = {flash}\nRAM : ORIGIN = 0x20000000, LENGTH = {ram} }}\n"
    );
    fs::write(folder.join("memory.x"), memory).unwrap();
    println!("cargo::rustc-link-search={}", folder.display());
    println!("cargo::rustc-link-arg-bins=-Tdefmt.x");
    println!("cargo::rerun-if-changed=build.rs");
}
