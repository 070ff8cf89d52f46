#!/usr/bin/env bash
# Proves that no operation of kpt-core can panic or allocate: a static library with all of them must link with nothing
# around it but memcpy and its like and a critical section, with overflow checks and without. What panics calls a function
# that does not exist, and there is no allocator. With a planted index, and with a planted malloc, it must not link.
# Static loops, with arguments of nine types, must take no flash: all zero bytes, in .bss (R10).
# The overflow checks are kpt's own: heapless counts its indices up from below the capacity, which it knows and the
# compiler does not.
# The host and the first target get every variant; the others get overflow checks on and no planted fault, and one is left
# out, unless KPT_DEEP is set.
# Usage: tests/no-panic.sh [PREFIX]
#   PREFIX  an unpacked firmware toolchain (with env.sh), for those targets that rustup has not installed; without it they
#           are left out
set -euo pipefail
prefix=${1:+$(realpath "$1")}
root=$(realpath "$(dirname "$0")/..")
out=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")/no-panic
words=$out/words
mkdir -p "$out"
cd "$root/tests/no-panic"
cargo fmt --check

# Builds the library for the target, with overflow checks or without, and with these features: the large loop, a planted
# fault. Whether it links; keeps the linker's words.
links() {
    local target=$1 checks=$2 features=$3
    CARGO_TARGET_DIR=$out cargo build --quiet --release --target "$target" "${build_args[@]}" \
        --config "profile.release.overflow-checks=$checks" \
        --config profile.release.package.heapless.overflow-checks=false \
        --features "$features" || exit 1
    "${linker[@]}" --gc-sections -e probe -u probe "${outside[@]/#/--defsym=}" \
        "$out/$target/release/libno_panic.a" -o "$out/probe" 2>"$words"
}

# Checks one target. `build_args`, `linker` and `outside` (what may be missing from the library) are the caller's; so are
# `all_checks`, with overflow checks or without (both), and `plants`, whether planted faults are tried (yes).
check() {
    local target=$1 loops checks planted
    for loops in "" large; do
        for checks in ${all_checks:-false true}; do
            if ! links "$target" "$checks" "$loops"; then
                echo "no-panic: $target: a panic path or an allocation is left (${loops:-small alone}, overflow checks: $checks):" >&2
                cat "$words" >&2
                exit 1
            fi
            echo "no-panic: $target: no panic path, no allocation (${loops:-small alone}, overflow checks: $checks)"
        done
        check_zero "$target" "${loops:-small}"
    done
    if [ "${plants:-yes}" = no ]; then
        return
    fi
    for planted in planted-index:kpt_core_can_panic planted-malloc:malloc; do
        if links "$target" true "large,${planted%:*}" || ! grep -qw "${planted#*:}" "$words"; then
            echo "no-panic: $target: the gate is broken: a ${planted%:*} was not noticed" >&2
            exit 1
        fi
        echo "no-panic: $target: a ${planted%:*} is noticed"
    done
}

# Looks where the compiler has put the loops of zero.rs: each has a section of its own.
check_zero() {
    local target=$1 loops=$2 sections count
    sections=$(readelf -SW "$out/$target/release/libno_panic.a" | grep -oE '\.[a-z.]+\.zero_[a-z_]+' | sort -u)
    count=$(grep -c '^\.bss\.zero_' <<<"$sections" || :)
    if [ "$count" != "$([ "$loops" = large ] && echo 18 || echo 9)" ] || grep -qv '^\.bss\.' <<<"$sections"; then
        echo "no-panic: $target: static loops that are not all zero bytes:" >&2
        echo "$sections" >&2
        exit 1
    fi
    echo "no-panic: $target: $count static loops are all zero bytes ($loops)"
}

check_host() {
    local build_args=() linker=(ld)
    local outside=({unknown,seen,_critical_section_1_0_{acquire,release},memcpy,memmove,memset,memcmp,bcmp}=0)
    check "$(rustc --print host-tuple)"
}

# On a microcontroller the library brings memcpy and its like with it.
check_mcu() {
    local target=$1 build_args=() linker=("$rust_lld" -flavor gnu --no-warnings)
    local outside=({unknown,seen,_critical_section_1_0_{acquire,release}}=0)
    if [[ ! -d $(rustc --print target-libdir --target "$target") ]]; then
        # The compiler's own library has overflow checks nowhere else, so not here either.
        build_args=(-Zbuild-std=core -Zbuild-std-features=compiler-builtins-mem
            --config profile.release.package.core.overflow-checks=false)
        if [[ -z $prefix ]]; then
            echo "no-panic: $target: left out, since rustup has not installed it"
            return
        fi
        . "$prefix/env.sh"
    fi
    check "$target"
}

rust_lld=$(rustc --print target-libdir)/../bin/rust-lld
check_host
for target in thumbv7em-none-eabihf thumbv7m-none-eabi thumbv6m-none-eabi riscv32imc-unknown-none-elf; do
    # Between two others.
    [ -n "${KPT_DEEP:-}" ] || [ "$target" != thumbv7m-none-eabi ] || continue
    (check_mcu "$target")
    [ -n "${KPT_DEEP:-}" ] || { plants=no all_checks=true; }
done
