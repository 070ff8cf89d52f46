//! A process whose wall clock is set to another time while it runs.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use crate::process;

/// Takes the place of the C library's clocks. 50 ms after its first call, the wall clock steps by `KPT_TESTS_STEP`
/// seconds; the monotonic clock stays as it is.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long millis(clockid_t clock) {
    struct timespec now;
    syscall(SYS_clock_gettime, clock, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static long step(void) {
    static long long start;
    if (start == 0) start = millis(CLOCK_MONOTONIC);
    const char *seconds = getenv("KPT_TESTS_STEP");
    return seconds && millis(CLOCK_MONOTONIC) >= start + 50 ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += step();
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *seconds) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (seconds) *seconds = now.tv_sec;
    return now.tv_sec;
}
"#;

/// Runs `test` in a process of its own whose wall clock steps by `seconds` (also back) soon after its start.
///
/// Without a C compiler the test is skipped, and says so.
///
/// # Panics
/// If the test fails or does not end within 10 s, or if the wall clock has not stepped at its end.
pub fn with_wall_clock_step(name: &str, seconds: i64, test: impl FnOnce()) {
    let test = || {
        let (wall, monotonic) = (SystemTime::now(), Instant::now());
        test();
        let (wall_passed, passed) = (difference(SystemTime::now(), wall), monotonic.elapsed());
        let step = wall_passed - i64::try_from(passed.as_secs()).expect("a short test");
        assert!((step - seconds).abs() <= 1, "the wall clock stepped by {step} s: no test");
    };
    if process::is_own_process(name) {
        return process::in_own_process(name, test);
    }
    if cfg!(target_feature = "crt-static") {
        eprintln!("SKIPPED {name}: a static program takes no other clock");
        return;
    }
    let Some(shim) = compile_shim(name) else {
        eprintln!("SKIPPED {name}: needs gcc to compile a clock that steps");
        return;
    };
    let prepare = |command: &mut Command| {
        command.env("LD_PRELOAD", &shim).env("KPT_TESTS_STEP", seconds.to_string());
    };
    process::in_own_process_with(name, prepare, test);
    let _ = std::fs::remove_file(shim);
}

/// Whole seconds from `earlier` to `later`, which may be before it.
fn difference(later: SystemTime, earlier: SystemTime) -> i64 {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).expect("no such time");
    match later.duration_since(earlier) {
        Ok(passed) => seconds(passed),
        Err(back) => -seconds(back.duration()),
    }
}

/// `None` if there is no compiler.
fn compile_shim(name: &str) -> Option<PathBuf> {
    let stem = std::env::temp_dir().join(format!("kpt-{name}-{}", std::process::id()));
    let (source, library) = (stem.with_extension("c"), stem.with_extension("so"));
    std::fs::write(&source, SHIM).expect("the source can be written");
    let output = Command::new("gcc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .output();
    let _ = std::fs::remove_file(source);
    let output = output.ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(library)
}
