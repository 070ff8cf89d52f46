#!/usr/bin/env bash
# The tests of tasks under a checker of memory: `checked.sh asan` or `checked.sh valgrind`.
# The processes that the tests fork are checked, too; what is found in any of them is in files, not in their output.
set -euo pipefail
cd "$(dirname "$0")/.."
export KPT_CHECKED=1 RUST_BACKTRACE=0
host=$(rustc -vV | sed -n 's/^host: //p')
logs=$(mktemp -d)
chmod 1777 "$logs" # Some tests become another user.
trap 'rm -rf "$logs"' EXIT

asan() {
    export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS="log_path=$logs/asan"
    local result=0
    cargo test --no-fail-fast -p kpt-tests --test 'tasks_*' --target "$host" --target-dir target/asan || result=1
    # A file for each process that has something to report.
    if [ -n "$(ls "$logs")" ]; then
        cat "$logs"/*
        exit 1
    fi
    echo "asan: nothing found"
    return $result
}

run_valgrind() {
    local triple=${host//-/_}
    local runner="valgrind --quiet --trace-children=yes --trace-children-skip=*/gcc,*/strace --track-fds=yes"
    runner+=" --error-exitcode=99 --log-file=$logs/%p"
    local result=0
    env "CARGO_TARGET_${triple^^}_RUNNER=$runner" cargo test --no-fail-fast -p kpt-tests --test 'tasks_*' || result=1
    # A file for each process, also a forked one. What valgrind says comes with `==`. Descriptors that are open at the end
    # are listed with where they were opened: those that kpt has opened must be a channel, which is the task's own, or a
    # number that `keep_only` keeps. That the process of a test has no more of them than before is asserted by itself.
    awk '
        function judge() {
            if (opened != "" && place ~ /kpt_std::/ && opened !~ /AF_UNIX/ && place !~ /close_all_but/) {
                print "left open: " opened place
                bad = 1
            }
            opened = place = ""
        }
        FNR == 1 { judge(); processes++; is_error = 0 }
        !/^==[0-9]+==/ { next }
        { line = $0; sub(/^==[0-9]+== ?/, "", line) }
        line ~ /^FILE DESCRIPTORS/ { is_error = 0; next }
        line ~ /^Open / { judge(); opened = line; next }
        line ~ /^ *(at|by) |^   <inherited/ && opened != "" { place = place "\n" line; next }
        line ~ /^ *$/ { judge(); next }
        { judge(); is_error = bad = 1 }
        is_error { print FILENAME ": " line }
        END {
            judge()
            print "valgrind: " processes " processes: " (bad ? "see above" : "nothing found")
            exit bad || !processes
        }
    ' "$logs"/*
    return $result
}

case ${1-} in
    asan) asan ;;
    valgrind) run_valgrind ;;
    *)
        sed -n 2p "$0" >&2
        exit 2
        ;;
esac
