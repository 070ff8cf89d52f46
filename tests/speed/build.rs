//! Compiles `src/c` against the system's libraries. Without one of them its file is empty, and the programs say so.

use std::path::Path;
use std::process::{Command, Stdio};

/// C file, header, static library and dynamic one. libev has functions of libevent's as well, and so comes behind it.
const LIBRARIES: [(&str, &str, &str, &str); 3] = [
    ("libevent", "event2/event.h", "event_core", "event_core"),
    ("libev", "ev.h", "ev", "ev"),
    ("libuv", "uv.h", "uv_a", "uv"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/c");
    let mut build = cc::Build::new();
    // The macros of ev.h look at a watcher as one of several types.
    build.flag_if_supported("-fno-strict-aliasing");
    build.files(LIBRARIES.map(|(file, ..)| format!("src/c/{file}.c")));
    build.compile("kpt_in_c");
    for (_, header, archive, dynamic) in LIBRARIES {
        // If it is not there, this looks again in each build.
        println!("cargo::rerun-if-changed=/usr/include/{header}");
        let mut command = build.get_compiler().to_command();
        command.args(["-E", "-include", header, "-x", "c", "/dev/null"]);
        if is_success(&mut command) {
            link(build.get_compiler().to_command(), archive, dynamic);
        }
    }
    println!("cargo::rustc-link-lib=dylib=m");
}

/// Links the static library where there is one, so that calls don't go through a table.
fn link(mut compiler: Command, archive: &str, dynamic: &str) {
    let output = compiler.arg(format!("-print-file-name=lib{archive}.a")).output();
    let path = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    let directory = path.as_deref().ok().map(Path::new).filter(|path| path.is_absolute());
    match directory.and_then(Path::parent) {
        Some(directory) => {
            println!("cargo::rustc-link-search=native={}", directory.display());
            println!("cargo::rustc-link-lib=static={archive}");
        }
        None => println!("cargo::rustc-link-lib=dylib={dynamic}"),
    }
}

fn is_success(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
