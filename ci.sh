#!/usr/bin/env bash
# All checks, for people and for CI.
# Usage: ./ci.sh [VERB...]     without a verb: fmt lint doc test no-panic
#   fmt       the code is formatted
#   lint      clippy, with every combination of features, no warning
#   doc       docs build without a warning
#   test      all tests and the examples in the docs
#   no-panic  no operation of kpt-core can panic
#   speed     the tables beside rivals, in one run; fails when kpt takes more than its part. For a machine that does
#             nothing else, so not in CI
#   tiny      a static binary without std, and one with; their sizes
#   mcu       the firmware in QEMU: traces, stress, sizes; unpacks a toolchain where rustup has no target
#   deep      the long tests: not in CI
set -euo pipefail
cd "$(dirname "$0")"

fmt() {
    cargo fmt --all --check
}

lint() {
    cargo clippy --workspace --all-targets -- -D warnings
    for features in log defmt log,defmt; do
        cargo clippy -p kpt-core --features "$features" -- -D warnings
    done
    cargo clippy -p kpt-std --features log -- -D warnings
}

doc() {
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps
}

run_tests() {
    cargo test --workspace
    cargo test -p kpt-core --features log
}

no_panic() {
    tests/no-panic.sh
}

speed() {
    cargo bench --quiet -p kpt-tests --bench speed
}

tiny() {
    examples/tiny/run.sh
}

mcu() {
    examples/cortex-m/mcu.sh
}

deep() {
    KPT_DEEP=1 cargo test --workspace
}

for verb in "${@:-all}"; do
    case $verb in
        fmt | lint | doc | speed | tiny | mcu | deep) "$verb" ;;
        test) run_tests ;;
        no-panic) no_panic ;;
        all) fmt; lint; doc; run_tests; no_panic ;;
        *)
            sed -n '3,14p' "$0" >&2
            exit 2
            ;;
    esac
done
