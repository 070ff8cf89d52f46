//! The memory of the machines that the programs run on, or at least that much.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

const ARM: &str = "\
MEMORY
{
  FLASH : ORIGIN = 0x00000000, LENGTH = 256K
  RAM   : ORIGIN = 0x20000000, LENGTH = 16K
}
";

/// All of it is RAM, the first part of which stands for flash.
const RISCV: &str = "\
MEMORY
{
  FLASH : ORIGIN = 0x80000000, LENGTH = 256K
  RAM   : ORIGIN = 0x80040000, LENGTH = 16K
}
REGION_ALIAS(\"REGION_TEXT\", FLASH)
REGION_ALIAS(\"REGION_RODATA\", FLASH)
REGION_ALIAS(\"REGION_DATA\", RAM)
REGION_ALIAS(\"REGION_BSS\", RAM)
REGION_ALIAS(\"REGION_HEAP\", RAM)
REGION_ALIAS(\"REGION_STACK\", RAM)
";

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let is_arm = env::var("CARGO_CFG_TARGET_ARCH")? == "arm";
    fs::write(out.join("memory.x"), if is_arm { ARM } else { RISCV })?;
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rerun-if-changed=build.rs");
    Ok(())
}
