#!/usr/bin/env bash
# All checks on microcontrollers: style, the node, the stress test and hosted loops in QEMU, the proof that nothing panics
# or allocates, and what kpt costs there.
# Usage: ./mcu.sh [PREFIX]
# Takes rustup's targets and QEMU as they are installed. Where one is missing, toolchain.sh unpacks all of it into
# PREFIX (target/mcu-toolchain), once.
set -euo pipefail
prefix=(${1:+"$(realpath -m "$1")"})
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
target_dir=$(cd "$root" && realpath -m "${CARGO_TARGET_DIR:-target}")
export CARGO_TARGET_DIR=$target_dir
targets=(thumbv6m-none-eabi thumbv7m-none-eabi thumbv7em-none-eabihf
    riscv32imc-unknown-none-elf riscv32imac-unknown-none-elf)
programs=(qemu-system-arm qemu-system-riscv32)

has_targets() {
    local target
    for target in "${targets[@]}"; do
        [ -d "$(rustc --print target-libdir --target "$target")" ] || return 1
    done
}

has_programs() {
    local program
    for program in "${programs[@]}"; do
        command -v "$program" >/dev/null || return 1
    done
}

# On the ARM machine with the most peripherals, and with KPT_DEEP set on RISC-V, which lilos is not for. The compilers of the
# others take no warning.
check_style() {
    local project
    for project in decode node hosted cost; do
        (cd "$project" && cargo fmt --check)
    done
    (cd decode && cargo clippy --quiet --locked --target-dir "$target_dir/decode")
    (
        if ((${#prefix[@]})); then
            . "${prefix[0]}/env.sh"
        fi
        for project in node hosted cost; do
            (cd "$project" && check_firmware thumbv7em-none-eabihf)
        done
        if [ -n "${KPT_DEEP:-}" ]; then
            (cd node && check_firmware riscv32imc-unknown-none-elf)
            (cd cost && check_firmware riscv32imc-unknown-none-elf --workspace --exclude cost-lilos)
        fi
    )
}

# Clippy as the compiler that only checks: `cargo clippy` would take the one of the host's compiler. What follows the
# target goes to cargo.
check_firmware() {
    local target=$1 build_std=()
    shift
    if ! [ -d "$("${RUSTC:-rustc}" --print target-libdir --target "$target")" ]; then
        build_std=(-Zbuild-std=core)
    fi
    RUSTC_WORKSPACE_WRAPPER=clippy-driver \
        cargo check --quiet --locked --target-dir "$target_dir/firmware" --target "$target" "${build_std[@]}" "$@"
}

if has_targets && has_programs; then
    prefix=()
else
    prefix=("${prefix[0]:-$target_dir/mcu-toolchain}")
    ./toolchain.sh "${prefix[@]}"
fi
check_style
# Beside the others, as linking whole programs keeps one core busy. What it says comes when it has ended.
no_panic_log=$(mktemp)
"$root/tests/no-panic.sh" "${prefix[@]}" >"$no_panic_log" 2>&1 &
no_panic=$!
trap 'kill "$no_panic" 2>/dev/null || :; rm -f "$no_panic_log"' EXIT
node/run.sh "${prefix[@]}"
hosted/run.sh "${prefix[@]}"
# Built with the same options as the node, so that `core` is there already.
CARGO_TARGET_DIR=$target_dir/firmware cost/measure.sh "${prefix[@]}"
has_ended=0
wait "$no_panic" || has_ended=$?
cat "$no_panic_log"
exit "$has_ended"
