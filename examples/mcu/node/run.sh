#!/usr/bin/env bash
# Runs the node, the stress test and five virtual hours on the machines of QEMU, and the node in the simulator and on
# Linux. Fails if the node's threads do not say the same everywhere, if the core woke up for nothing, if an interrupt got
# lost, if a second was not one, or if the tape that the node leaves in memory over a reset does not replay here.
# Two of the five machines are left out unless KPT_DEEP is set.
# Usage: ./run.sh [PREFIX]     a toolchain of ../toolchain.sh; without it, rustup's targets and QEMU as installed
set -euo pipefail
export LC_ALL=C
prefix=${1:+$(cd "$1" && pwd)}
cd "$(dirname "$0")"
root=$(cd ../../.. && pwd)
target_dir=${CARGO_TARGET_DIR:-$root/target}
work=$(mktemp -d)
select=
trap 'rm -rf "$work"; [ -z "$select" ] || kill "$select" 2>/dev/null || :' EXIT

fail() {
    echo "$*" >&2
    exit 1
}

# The firmware's compiler is not the host's.
with_toolchain() (
    if [ -n "$prefix" ]; then
        . "$prefix/env.sh"
    fi
    "$@"
)

build_for_host() {
    (cd "$root" && cargo build --quiet --release --locked --target-dir "$target_dir" -p kpt-examples \
        --example node --example tape)
    (cd ../decode && cargo build --quiet --locked --target-dir "$target_dir/decode")
}

build_firmware() {
    local target=$1 build_std=()
    if ! [ -d "$("${RUSTC:-rustc}" --print target-libdir --target "$target")" ]; then
        build_std=(-Zbuild-std=core -Zbuild-std-features=compiler-builtins-mem)
    fi
    cargo build --quiet --release --locked --target-dir "$target_dir/firmware" --target "$target" "${build_std[@]}"
}

# Runs a firmware and prints its log. With icount, time goes by instructions and not by the host's clock, so that each
# run is the same, and a sleep takes no time. The real-time clock of `virt` is told to go by it, too. Without a network: its
# timers would run all the time while the processor sleeps, and once kept QEMU from ending.
emulate() {
    local machine=$1 firmware=$2 serial=$3 system=arm options=()
    [ "$machine" = virt ] && system=riscv32 options=(-bios none -rtc clock=vm)
    # The node's ring goes to the folder in which QEMU runs.
    (cd "$work" && exec timeout --kill-after=5 120 "qemu-system-$system" -M "$machine" "${options[@]}" -nic none \
        -nographic -monitor none -serial "$serial" \
        -icount shift=5,sleep=off -semihosting-config enable=on,target=native -kernel "$firmware" \
        </dev/null) >"$work/log" 2>"$work/errors" || {
        local status=$?
        "$target_dir/decode/debug/kpt-decode" "$firmware" <"$work/log" | tail -n 3 >&2
        cat "$work/errors" >&2
        fail "$firmware on $machine: exit status $status"
    }
    "$target_dir/decode/debug/kpt-decode" "$firmware" <"$work/log"
}

trace_of() {
    grep -E '^[0-9]+ ' "$1"
}

# The same lines in the order of threads, and each thread's in its own.
by_thread() {
    sort --stable --key=2,2 "$1"
}

# Takes 12 seconds, in which firmware can be built.
start_node_on_select() {
    timeout 60 "$target_dir/release/examples/node" --on select >"$work/select" 2>"$work/select-console" &
    select=$!
}

run_node_in_simulator() {
    "$target_dir/release/examples/node" --on sim >"$work/sim" 2>"$work/sim-console"
    [ "$(grep -c ' sample read ' "$work/sim")" = 1000 ] || fail "sim: not 1,000 samples"
    grep -q '^9990000 sample read ' "$work/sim" || fail "sim: the last sample was not due after 9,990 ms"
}

finish_node_on_select() {
    wait "$select" || fail "select: exit status $?"
    select=
    diff <(by_thread "$work/sim") <(by_thread "$work/select") >&2 || fail "select and sim differ"
    echo "node on select: for each thread the same lines as in the simulator"
}

run_node_on() {
    local machine=$1 core=$2 firmware=$3 uart=$work/uart
    echo dump >"$uart.in"
    : >"$uart.out"
    rm -f "$work/ring"
    emulate "$machine" "$firmware" "pipe:$uart" >"$work/node"
    diff "$work/sim" <(trace_of "$work/node") >&2 || fail "$machine ($core) and sim differ"
    echo "node on $machine ($core): the same lines as in the simulator; $(tail -n 1 "$work/node")"
    if [ "$machine" = mps2-an386 ]; then
        grep -q ' timer *sample ' "$uart.out" || fail "$machine: its console has no table of threads"
    fi
    check_ring "$machine" "$core"
}

# The ring that the node has left. On the machine that has no memory for a whole run, its end.
check_ring() {
    local machine=$1 core=$2
    if [ "$machine" = microbit ]; then
        "$target_dir/release/examples/tape" "$work/ring" | tail -n 6 | grep -q ' hook watchdog ' ||
            fail "$machine ($core): its ring does not end with the watchdog"
        echo "ring of $machine ($core): its end is that of the run"
        return
    fi
    "$target_dir/release/examples/node" --replay "$work/ring" >"$work/replayed" 2>"$work/replay" || {
        cat "$work/replay" >&2
        fail "$machine ($core): its ring does not replay"
    }
    diff <(trace_of "$work/node") "$work/replayed" >&2 || fail "$machine ($core): its replay differs"
    echo "ring of $machine ($core): replayed with the same lines; $(tail -n 1 "$work/replay")"
}

build_for_host
start_node_on_select
run_node_in_simulator
while read -r machine target; do
    # Of each kind there is another one.
    [ -n "${KPT_DEEP:-}" ] || [[ $target != thumbv7m-* && $target != riscv32imac-* ]] || continue
    with_toolchain build_firmware "$target"
    core=${target%%-*}
    firmware=$target_dir/firmware/$target/release
    with_toolchain run_node_on "$machine" "$core" "$firmware/node"
    with_toolchain emulate "$machine" "$firmware/stress" none | sed "s/^/stress on $machine ($core): /"
    with_toolchain emulate "$machine" "$firmware/long" none | sed "s/^/long on $machine ($core): /"
done <<END
mps2-an386 thumbv7em-none-eabihf
lm3s6965evb thumbv7m-none-eabi
microbit thumbv6m-none-eabi
virt riscv32imc-unknown-none-elf
virt riscv32imac-unknown-none-elf
END
finish_node_on_select
