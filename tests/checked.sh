#!/usr/bin/env bash
# The tests of tasks under a checker of memory.
# Usage: checked.sh asan|valgrind [FILE]    all files, or the one: tasks_net
# The processes that the tests fork are checked, too; what is found in any of them is in files, not in their output.
set -euo pipefail
cd "$(dirname "$0")/.."
export KPT_CHECKED=${1-} RUST_BACKTRACE=0
host=$(rustc -vV | sed -n 's/^host: //p')
files=${2:-tasks_*}
logs=$(mktemp -d)
chmod 1777 "$logs" # Some tests become another user.
trap 'rm -rf "$logs"' EXIT

asan() {
    export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS="log_path=$logs/asan"
    local result=0
    cargo test --no-fail-fast -p kpt-tests --test "$files" --target "$host" --target-dir target/asan || result=1
    # A file for each process that has something to report.
    if [ -n "$(ls "$logs")" ]; then
        cat "$logs"/*
        exit 1
    fi
    echo "asan: nothing found"
    return $result
}

# Without the files in which the checker is what fails: descriptors of its own, which nothing can close, and calls.
run_valgrind() {
    local file tests=() triple=${host//-/_} result=0
    for file in tests/tests/$files.rs; do
        file=$(basename "$file" .rs)
        [[ $file == tasks_privileges || $file == tasks_filter ]] || tests+=(--test "$file")
    done
    if [ ${#tests[@]} = 0 ]; then
        echo "valgrind: can't run $files" >&2
        exit 2
    fi
    # One that has become another user, and then runs a program, can't write to the file that it had. `vgdb`, a door for
    # debuggers, has such files, too.
    export KPT_TESTS_USER=
    local runner="valgrind --quiet --vgdb=no --trace-children=yes --trace-children-skip=*/gcc,*/strace"
    runner+=" --error-exitcode=99 --log-file=$logs/%p%q{KPT_TESTS_USER}"
    env "CARGO_TARGET_${triple^^}_RUNNER=$runner" cargo test --no-fail-fast -p kpt-tests "${tests[@]}" || result=1
    # A file for each process, also a forked one. What valgrind finds begins with `==`; what it can't run, with `--`.
    if grep -h '^==' "$logs"/*; then
        exit 1
    fi
    echo "valgrind: nothing found in $(ls "$logs" | wc -l) processes"
    return $result
}

case ${1-} in
    asan) asan ;;
    valgrind) run_valgrind ;;
    *)
        sed -n 3p "$0" >&2
        exit 2
        ;;
esac
