#!/usr/bin/env bash
# Proves that no operation of kpt-core can panic: a static library with all of them, whose panic handler calls a function
# that does not exist, must link, with overflow checks and without; with a planted index it must not.
# Usage: tests/no-panic.sh
set -euo pipefail
cd "$(dirname "$0")/no-panic"
target=${CARGO_TARGET_DIR:-../../target}/no-panic
mkdir -p "$target"

# Builds the library with the given overflow checks and features, links it, and keeps the linker's words.
links() {
    CARGO_TARGET_DIR=$target CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=$1 cargo build --quiet --release ${2:+--features "$2"}
    cc -O1 -ffunction-sections -Wl,--gc-sections main.c "$target/release/libno_panic.a" -o "$target/probe" 2>"$target/words"
}

for checks in false true; do
    if ! links "$checks"; then
        echo "no-panic: a panic path is left (overflow checks: $checks):" >&2
        cat "$target/words" >&2
        exit 1
    fi
    echo "no-panic: 0 panic paths (overflow checks: $checks)"
done
if links true planted; then
    echo "no-panic: the gate is broken: a planted index was not noticed" >&2
    exit 1
fi
grep -q kpt_core_can_panic "$target/words"
echo "no-panic: a planted index is noticed"
