#!/usr/bin/env bash
# Runs loops that are hosted by interrupt handlers and by embassy, in QEMU, and prints a line for each program. Fails if
# one fails: if a hook was late, a wake-up got lost, or something was not counted.
# Usage: ./run.sh [PREFIX]     a toolchain of ../toolchain.sh; without it, rustup's targets and QEMU as installed
set -euo pipefail
export LC_ALL=C
prefix=${1:+$(cd "$1" && pwd)}
cd "$(dirname "$0")"
root=$(cd ../../.. && pwd)
target_dir=${CARGO_TARGET_DIR:-$root/target}
target=thumbv7em-none-eabihf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The firmware's compiler is not the host's.
with_toolchain() (
    if [ -n "$prefix" ]; then
        . "$prefix/env.sh"
    fi
    "$@"
)

# Each by itself, since embassy's queue of timers is another one as soon as one program wants that.
build_firmware() {
    local program=$1 build_std=()
    if ! [ -d "$("${RUSTC:-rustc}" --print target-libdir --target "$target")" ]; then
        build_std=(-Zbuild-std=core -Zbuild-std-features=compiler-builtins-mem)
    fi
    cargo build --quiet --release --locked --target-dir "$target_dir/firmware" --target "$target" \
        "${build_std[@]}" -p "$program"
}

# With icount, time goes by instructions and not by the host's clock, so that each run is the same on any machine: 32 ns
# each, which makes about 31 million a second.
emulate() {
    local program=$1 firmware=$target_dir/firmware/$target/release/$1 status=0
    timeout --kill-after=5 120 qemu-system-arm -M mps2-an386 -nic none -nographic -monitor none -serial none \
        -icount shift=5,sleep=off -semihosting-config enable=on,target=native -kernel "$firmware" \
        </dev/null >"$work/log" 2>"$work/errors" || status=$?
    "$target_dir/decode/debug/kpt-decode" "$firmware" <"$work/log" | paste -sd ';' | sed "s/^/$program: /; s/;/; /g"
    cat "$work/errors" >&2
    if [ "$status" != 0 ]; then
        echo "$program: exit status $status" >&2
        return 1
    fi
}

(cd ../decode && cargo build --quiet --locked --target-dir "$target_dir/decode")
for program in priorities embassy-hosted embassy-board; do
    with_toolchain build_firmware "$program"
    with_toolchain emulate "$program"
done
