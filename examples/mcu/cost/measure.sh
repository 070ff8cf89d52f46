#!/usr/bin/env bash
# What kpt costs on a microcontroller, beside embassy, lilos and a program without tasks: builds all programs, runs each
# in QEMU, and prints one table, and which of kpt's limits hold. Fails when a program fails, or when a limit does not hold.
# The smallest target has the fewest and the most jobs; with KPT_DEEP set, all targets have all numbers of jobs.
# Usage: ./measure.sh [PREFIX]     a toolchain of ../toolchain.sh; without it, rustup's targets and QEMU as installed
#
#   flash   vector table, code, constants and the first values of statics
#   RAM     statics
#   stack   the most that was used, of several runs at different speeds, since interrupts may come at any depth
set -euo pipefail
prefix=${1:+$(cd "$1" && pwd)}
cd "$(dirname "$0")"
if [ -n "$prefix" ]; then
    . "$prefix/env.sh"
fi

target_dir=${CARGO_TARGET_DIR:-target}
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT

# Prints the bytes of stack that a program used. With `icount` time goes by instructions, so that each run is the same
# on any machine: 2 to the power of `speed` nanoseconds each. At 128 ns, 32 jobs would not be done in time on a Cortex-M0:
# the small loop looks at all slots, so that a hook among 32 costs some 1,000 instructions.
run() {
    local machine=$1 elf=$2 system=arm options=() speed stack most=0
    [[ $machine == virt ]] && system=riscv32 options=(-bios none)
    for speed in 3 4 5 6; do
        stack=$(timeout --kill-after=5 120 "qemu-system-$system" -M "$machine" "${options[@]}" \
            -nic none -nographic -monitor none -serial none \
            -icount "shift=$speed,sleep=off" -semihosting-config enable=on,target=native \
            -kernel "$elf" </dev/null 2>&1) || { echo "$elf on $machine: exit status $?: $stack" >&2; return 1; }
        most=$((16#$stack > most ? 16#$stack : most))
    done
    echo "$most"
}

# Prints the day and the versions, without which the figures say little.
print_versions() {
    date +%F
    "${RUSTC:-rustc}" --version
    awk -F '"' '
        $1 == "name = " { name = $2 }
        $1 == "version = " && name ~ /^(embassy-(executor|time)|lilos)$/ { print name, $2 }' Cargo.lock
}

# Prints flash and RAM. The host's readelf knows the files of every machine. What is named .stack or .heap is the room
# that is left.
sizes() {
    local name kind size flags flash=0 ram=0
    while read -r name kind size flags; do
        [[ $flags != *A* || $name == .stack || $name == .heap ]] && continue
        [[ $kind == NOBITS ]] || ((flash += 16#$size))
        [[ $flags != *W* ]] || ((ram += 16#$size))
    done < <(readelf -SW "$1" | sed -n 's/^ *\[ *[0-9]*\] *//p' | awk '{ print $1, $2, $5, $7 }')
    echo "$flash $ram"
}

# Prints a row for each program: target, jobs, program; its flash, RAM and stack; those of `bare`.
measure() {
    local target=$1 machine=$2 jobs=$3 program flash ram stack
    local programs=(bare kpt embassy) features=() build_std=()
    [[ $target == thumb* ]] && programs+=(lilos)
    ((jobs == 4)) && programs+=(kpt-all) || features=(--features "cost-board/jobs-$jobs")
    if ! [ -d "$("${RUSTC:-rustc}" --print target-libdir --target "$target")" ]; then
        build_std=(-Zbuild-std=core -Zbuild-std-features=compiler-builtins-mem)
    fi
    declare -A of
    for program in "${programs[@]}"; do
        # One by one, since programs that are built together share the features of their libraries.
        cargo build --quiet --release --locked -p "cost-${program%-all}" --target "$target" \
            "${build_std[@]}" "${features[@]}"
        local elf=$target_dir/$target/release/$program
        read -r flash ram < <(sizes "$elf")
        stack=$(run "$machine" "$elf")
        of[$program]="$flash $ram $stack"
    done
    for program in "${programs[@]}"; do
        echo "${target%%-*} $jobs $program ${of[$program]} ${of[bare]}"
    done
}

print_table() {
    awk '
        BEGIN {
            form = "%-10s %4s  %-8s %6s %6s %6s %6s   %7s %7s %7s\n"
            printf form, "", "", "", "", "", "", "RAM +", "more than bare", "", ""
            printf form, "target", "jobs", "program", "flash", "RAM", "stack", "stack", "flash", "RAM", "stack"
        }
        $3 == "bare" { print "" }
        { printf form, $1, $2, $3, $4, $5, $6, $5 + $6, $4 - $7, $5 - $8, $6 - $9 }' "$rows"
}

# What kpt promises on ARM, in bytes. Flash is what a program takes over bare.
check_limits() {
    awk '
        function check(holds, figures) {
            printf "%-6s  %-9s  %2d jobs: %s\n", holds ? "holds" : "MISSED", target, jobs, figures
            if (!holds) missed = 1
        }
        { flash[$1, $2, $3] = $4 - $7; memory[$1, $2, $3] = $5 + $6 }
        $1 ~ /^thumb/ && $3 == "bare" { sizes[++count] = $1 " " $2 }
        END {
            print "\nLimits:"
            for (i = 1; i <= count; i++) {
                split(sizes[i], size); target = size[1]; jobs = size[2]
                kpt = flash[target, jobs, "kpt"]; embassy = flash[target, jobs, "embassy"]
                if (jobs == 4) {
                    check(kpt <= 1.4 * embassy, "flash " kpt ", at most 1.4 times the " embassy " of embassy")
                    more = flash[target, jobs, "kpt-all"] - kpt
                    check(more <= 750, "all that hooks can do takes " more " of flash, at most 750")
                }
                if (jobs >= 16) check(kpt < embassy, "flash " kpt ", less than the " embassy " of embassy")
                kpt = memory[target, jobs, "kpt"]; embassy = memory[target, jobs, "embassy"]
                check(kpt < embassy, "RAM and stack " kpt ", less than the " embassy " of embassy")
            }
            exit missed
        }' "$rows"
}

print_versions
while read -r target machine; do
    all_jobs=(4 8 16 32)
    if [ -z "${KPT_DEEP:-}" ]; then
        [ "$machine" = microbit ] || continue
        all_jobs=(4 32)
    fi
    for jobs in "${all_jobs[@]}"; do
        measure "$target" "$machine" "$jobs" >>"$rows"
    done
done <<END
thumbv7em-none-eabihf mps2-an386
thumbv6m-none-eabi microbit
riscv32imc-unknown-none-elf virt
END
print_table
check_limits
