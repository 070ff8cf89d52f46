//! Compiles `src/libev.c` against the system's libev, and sets `cfg(libev)`. Where there is none, or `KPT_NO_LIBEV` is
//! set, the program is built without, and knows why.

use std::path::Path;
use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/libev.c");
    // If it is not there, this looks again in each build.
    println!("cargo::rerun-if-changed=/usr/include/ev.h");
    println!("cargo::rerun-if-env-changed=KPT_NO_LIBEV");
    println!("cargo::rustc-check-cfg=cfg(libev)");
    match find_libev() {
        Ok(()) => println!("cargo::rustc-cfg=libev"),
        Err(reason) => println!("cargo::rustc-env=KPT_LIBEV_MISSING={reason}"),
    }
}

/// Compiles the C file, if there is what it needs. An error in the file itself is one of the build.
fn find_libev() -> Result<(), &'static str> {
    if std::env::var_os("KPT_NO_LIBEV").is_some() {
        return Err("KPT_NO_LIBEV was set when this was built");
    }
    let mut build = cc::Build::new();
    // The macros of ev.h look at a watcher as one of several types.
    build.file("src/libev.c").flag_if_supported("-fno-strict-aliasing");
    let compiler = build.try_get_compiler().map_err(|_| "there is no C compiler")?;
    let mut command = compiler.to_command();
    command.args(["-E", "-include", "ev.h", "-x", "c", "/dev/null"]);
    if !is_success(&mut command) {
        return Err("the C compiler finds no ev.h: install libev-dev");
    }
    build.compile("kpt_libev");
    link_libev(compiler.to_command());
    Ok(())
}

/// Links the static library where there is one, so that calls don't go through a table.
fn link_libev(mut compiler: Command) {
    let output = compiler.arg("-print-file-name=libev.a").output();
    let path = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    let directory = path.as_deref().ok().map(Path::new).filter(|path| path.is_absolute());
    match directory.and_then(Path::parent) {
        Some(directory) => {
            println!("cargo::rustc-link-search=native={}", directory.display());
            println!("cargo::rustc-link-lib=static=ev");
        }
        None => println!("cargo::rustc-link-lib=dylib=ev"),
    }
    println!("cargo::rustc-link-lib=dylib=m");
}

fn is_success(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
