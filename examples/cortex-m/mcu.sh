#!/usr/bin/env bash
# All checks on microcontrollers, in QEMU: the node, the stress test, and what kpt costs there.
# Usage: ./mcu.sh [PREFIX]
# Takes rustup's targets and QEMU as they are installed. Where one is missing, toolchain.sh unpacks all of it into
# PREFIX (target/mcu-toolchain), once.
set -euo pipefail
cd "$(dirname "$0")"
target_dir=${CARGO_TARGET_DIR:-$(cd ../.. && pwd)/target}

is_installed() {
    local target
    for target in thumbv6m-none-eabi thumbv7m-none-eabi thumbv7em-none-eabihf; do
        [ -d "$(rustc --print target-libdir --target "$target")" ] || return 1
    done
    command -v qemu-system-arm arm-none-eabi-size >/dev/null
}

prefix=()
if ! is_installed; then
    prefix=("${1:-$target_dir/mcu-toolchain}")
    ./toolchain.sh "${prefix[@]}"
fi
node/run.sh "${prefix[@]}"
if [ -x cost/measure.sh ]; then
    # Built with the same options as the node, so that `core` is there already.
    CARGO_TARGET_DIR=$target_dir/firmware cost/measure.sh "${prefix[@]}"
fi
