#!/usr/bin/env bash
# Builds static programs, without std (this directory) and with it, runs them, and prints their sizes. Fails if one does
# not do what it should, needs another file, or if a panic, formatting or allocation is left in one without std.
# Usage: examples/tiny/run.sh [PREFIX]
#   PREFIX  an unpacked firmware toolchain (with env.sh): also with musl in place of glibc; needs musl-gcc
set -euo pipefail
prefix=${1:+$(realpath "$1")}
root=$(realpath "$(dirname "$0")/../..")
out=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")/static
export CARGO_TARGET_DIR=$out
host=$(rustc --print host-tuple)
musl=${host/gnu/musl}

fail() {
    echo "tiny: $*" >&2
    exit 1
}

# The flags come from the example's own configuration, which RUSTFLAGS would replace.
build_tiny() {
    (cd "$root/examples/tiny" && env -u RUSTFLAGS cargo build --quiet --release --target "$@")
}

build_tiny_musl() {
    (
        . "$prefix/env.sh"
        build_tiny "$musl" -Zbuild-std=core --config "target.$musl.linker='musl-gcc'" \
            --config "target.'cfg(target_env = \"musl\")'.rustflags=['-Clink-self-contained=no']"
    )
}

build_with_std() {
    (cd "$root" && RUSTFLAGS="-C target-feature=+crt-static" \
        cargo build --quiet --release --target "$host" -p kpt-examples --example pipe_loop)
}

check_tiny() {
    local expected said symbols
    expected=$'type something; Ctrl-D ends it\nhello\nend of input\ntick\ntick\ntick\ndone'
    said=$(timeout 20 "$1" <<<hello) || fail "$1: status $?"
    [[ $said == "$expected" ]] || fail "$1 says: $said"
    symbols=$(nm "$1")
    ! grep -E '4core3fmt|4core9panicking|rust_begin_unwind|__rust_alloc' <<<"$symbols" || fail "$1 has these"
}

check_with_std() {
    local expected said
    expected=$'^the loop has returned: empty\n[1-9][0-9]* messages sent in 100ms, [1-9][0-9]* received, [0-9]+ in the pipe$'
    said=$(timeout 20 "$1") || fail "$1: status $?"
    [[ $said =~ $expected ]] || fail "$1 says: $said"
}

check_static() {
    local headers
    headers=$(readelf --wide --segments --dynamic "$1")
    ! grep -E 'INTERP|NEEDED' <<<"$headers" || fail "$1 needs another file"
}

print_size() {
    strip -o "$1.stripped" "$1"
    size "$1.stripped" | awk -v name="$2" -v bytes="$(stat -c %s "$1.stripped")" \
        'NR == 2 { printf "%-18s %8d bytes stripped: text %d, data %d, bss %d\n", name, bytes, $1, $2, $3 }'
}

# Checks a program with the given function.
finish() {
    local name=$1 check=$2 program=$3
    "$check" "$program"
    check_static "$program"
    print_size "$program" "$name"
}

build_tiny "$host"
finish "without std" check_tiny "$out/$host/release/tiny"
if [[ -n $prefix ]]; then
    build_tiny_musl
    finish "without std, musl" check_tiny "$out/$musl/release/tiny"
fi
build_with_std
finish "with std" check_with_std "$out/$host/release/examples/pipe_loop"
