#!/usr/bin/env bash
# All checks, for people and for CI.
# Usage: ./ci.sh [VERB...]     without a verb: fmt lint doc api package test count tiny mcu
#             (in another order, and mcu beside others)
#   fmt       the code is formatted
#   lint      clippy with no feature and with all, no warning; nothing newer than the lowest Rust; with KPT_DEEP set, also
#             with each feature alone, and the comparison with rivals
#   doc       docs build without a warning
#   api       the public API is as docs/api says; with --write after it, docs/api says what the public API is
#   package   what would be published has the README and the licences; with KPT_DEEP set, it also builds
#   test      all tests and the examples in the docs
#   no-panic  no operation of kpt-core can panic, on the host; mcu does this and the same for microcontrollers
#   speed     timers, threads and tasks beside rivals (libev and what std has), each in one run; fails when kpt takes more
#             than its part. For a machine that does nothing else, so not in CI
#   compare   kpt beside libev, libevent, libuv, calloop, tokio, mio and polling; with --write after it, the table of the
#             README and docs/compare.svg are what it measures. For a machine that does nothing else, too
#   count     the instructions of operations, by callgrind, are those of a table, within 3 %
#   tiny      a static binary without std, and one with; their sizes
#   mcu       firmware in QEMU: traces, stress, no panic, sizes; unpacks a toolchain where rustup has no target
#   musl      the tests of kpt-std, linked statically with musl; needs rustup's target, which it adds if it can
#   net       the matrix of the net under tasks, as root and as user 65534, 20 times: who is left when a parent was killed
#             (docs/NET.md)
#   asan      the tests of tasks with AddressSanitizer
#   valgrind  the tests of tasks under valgrind, all processes; ten minutes
#   deep      lint with each feature, the long tests, what would be published builds, mcu with every variant of the proof on
#             every target, musl, asan, valgrind and net: not in CI
set -euo pipefail
cd "$(dirname "$0")"

# Installs what a check uses besides Rust and gcc, if it is missing: only as root and with apt-get. Elsewhere, and where
# that fails, the check does without.
# Usage: need PROGRAM [PACKAGE], or need /PATH/OF/A/FILE PACKAGE; a package is called as its program, unless it is said
need() {
    local package=${2:-$1}
    if command -v "$1" >/dev/null || [[ $1 == /* && -e $1 ]]; then
        return
    fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "ci.sh: without $package" >&2
        return
    fi
    { apt-get update && apt-get install --yes --no-install-recommends "$package"; } >&2 ||
        echo "ci.sh: without $package" >&2
}

# Without one, what is in C is left out.
need_rivals() {
    need /usr/include/ev.h libev-dev
    need /usr/include/event2/event.h libevent-dev
    need /usr/include/uv.h libuv1-dev
}

# cargo for tests/speed, which has a workspace of its own.
cargo_speed() {
    local verb=$1
    shift
    cargo "$verb" --quiet --locked --manifest-path tests/speed/Cargo.toml \
        --target-dir "${CARGO_TARGET_DIR:-target}/speed" "$@"
}

fmt() {
    cargo fmt --all --check
    cargo fmt --manifest-path tests/speed/Cargo.toml --check
}

# Fails as well on what the standard library has gained since `rust-version` in Cargo.toml (clippy::incompatible_msrv).
lint() {
    local features core=("" log,defmt,critical-section,multicore) std=("" log,postcard,sim,tape) rivals=()
    if [ -n "${KPT_DEEP:-}" ]; then
        core+=(log defmt critical-section)
        std+=(log postcard sim tape)
        rivals=(--all-features)
    fi
    cargo clippy --workspace --all-targets -- -D warnings
    for features in "${core[@]}"; do
        cargo clippy -p kpt-core --all-targets --features "$features" -- -D warnings
        cargo clippy -p kpt-core --all-targets --features "large,$features" -- -D warnings
    done
    for features in "${std[@]}"; do
        cargo clippy -p kpt-std --features "$features" -- -D warnings
        cargo clippy -p kpt-std --no-default-features --features "$features" -- -D warnings
    done
    cargo_speed clippy --all-targets "${rivals[@]}" -- -D warnings
}

doc() {
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps
}

# What changes it also changes CHANGELOG.md. The target directory is one of its own, so that the features don't have
# everything else built anew.
api() {
    local target=${CARGO_TARGET_DIR:-target} package list has_changed=
    mkdir -p docs/api "$target/api"
    # Not by cargo: it needs no other crate, and would have all of kpt-tests built once more.
    rustc --edition 2024 -C opt-level=1 -o "$target/api/api" tests/src/bin/api.rs
    cargo doc --quiet --target-dir "$target/api" --no-deps --all-features -p kpt-core -p kpt-std
    for package in kpt-core kpt-std; do
        list=$target/api/$package.txt
        "$target/api/api" "$target/api/doc" "${package//-/_}" >"$list"
        if [ -n "$write" ]; then
            cp "$list" "docs/api/$package.txt"
        elif ! diff --unified=0 "docs/api/$package.txt" "$list"; then
            has_changed=yes
        fi
    done
    if [ -n "$has_changed" ]; then
        echo "api: the public API has changed: add a line to CHANGELOG.md and run ./ci.sh api --write" >&2
        return 1
    fi
}

# Builds kpt-std with the packaged kpt-core, so that neither has to be published. Only `fetch` may use the network, and does
# so when a dependency has not been downloaded.
package() {
    cargo fetch --locked
    local verify=(--no-verify)
    [ -z "${KPT_DEEP:-}" ] || verify=()
    cargo package --quiet --locked --offline --allow-dirty --all-features --workspace "${verify[@]}" \
        --exclude kpt-tests --exclude kpt-tests-heavy --exclude kpt-examples --exclude kpt-kv --exclude kpt-tftp
    local target=${CARGO_TARGET_DIR:-target} package file
    for package in kpt-core kpt-std; do
        local archive=("$target/package/$package"-[0-9]*.crate)
        if [ ${#archive[@]} != 1 ]; then
            echo "package: more than one version of $package in $target/package: remove the old ones" >&2
            return 1
        fi
        for file in README.md LICENSE-MIT LICENSE-APACHE; do
            local original=$file
            [ "$file" = README.md ] && original=$package/$file
            if ! tar -xOf "${archive[0]}" --wildcards "*/$file" | cmp - "$original"; then
                echo "package: $file of $package is missing, or another one" >&2
                return 1
            fi
        done
    done
}

run_tests() {
    need strace # Has a call of the system fail.
    need redis-cli redis-tools
    need redis-server # Both are what examples/kv is compared with.
    need tftp tftp-hpa
    need curl # Both drive examples/tftp.
    cargo test --workspace
    cargo test -p kpt-core # Without the large loop. With it and with logs, it is part of the others.
}

no_panic() {
    tests/no-panic.sh
}

speed() {
    local result=0
    need_rivals
    cargo_speed run --release --bin speed || result=1
    cargo bench --quiet -p kpt-tests --bench tasks || result=1
    return $result
}

compare() {
    need_rivals
    cargo_speed run --release --features compare --bin compare -- ${write:+--write}
}

count() {
    need valgrind
    tests/speed/count.sh
}

tiny() {
    examples/tiny/run.sh
}

mcu() {
    examples/mcu/mcu.sh
}

musl() {
    local target
    target=$(uname -m)-unknown-linux-musl
    rustup target add "$target" || {
        echo "musl: no target $target" >&2
        return 1
    }
    cargo test --target "$target" -p kpt-std -p kpt-tests
}

net() {
    cargo run --quiet -p kpt-tests --bin net -- --repeats 20
}

asan() {
    tests/checked.sh asan
}

run_valgrind() {
    need valgrind
    tests/checked.sh valgrind
}

deep() {
    KPT_DEEP=1 lint
    KPT_DEEP=1 cargo test --workspace
    KPT_DEEP=1 package
    KPT_DEEP=1 mcu
    musl
    asan
    run_valgrind
    net
}

# mcu runs beside what measures no time: it has long steps that use one core. What it says comes when it has ended.
all() {
    local log mcu result=0
    fmt
    log=$(mktemp)
    ./ci.sh mcu >"$log" 2>&1 &
    mcu=$!
    trap "kill $mcu 2>/dev/null || :; rm -f $log" EXIT
    lint
    doc
    api
    package
    count
    tiny
    cargo test --workspace --no-run
    wait "$mcu" || result=$?
    cat "$log"
    [ "$result" = 0 ] || return "$result"
    run_tests
}

write=
verbs=()
for word in "$@"; do
    case $word in
        --write) write=yes ;;
        *) verbs+=("$word") ;;
    esac
done
for verb in "${verbs[@]:-all}"; do
    case $verb in
        fmt | lint | doc | api | package | speed | compare | count | tiny | mcu | musl | net | asan | deep) "$verb" ;;
        valgrind) run_valgrind ;;
        test) run_tests ;;
        no-panic) no_panic ;;
        all) all ;;
        *)
            sed -n '3,26p' "$0" >&2
            exit 2
            ;;
    esac
done
