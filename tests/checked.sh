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
    cargo test --no-fail-fast -p kpt-tests --test 'tasks_*' --target "$host" --target-dir target/asan
    # A file for each process that has something to report.
    if [ -n "$(ls "$logs")" ]; then
        cat "$logs"/*
        exit 1
    fi
    echo "asan: nothing found"
}

run_valgrind() {
    local triple=${host//-/_}
    local runner="valgrind --quiet --trace-children=yes --trace-children-skip=*/gcc,*/strace --track-fds=yes"
    runner+=" --error-exitcode=99 --log-file=$logs/%p"
    env "CARGO_TARGET_${triple^^}_RUNNER=$runner" cargo test --no-fail-fast -p kpt-tests --test 'tasks_*'
    # Each file is that of a program, and of all that it forked. What valgrind says of memory comes with `==`, and so do
    # descriptors that are open at the end. Forked processes have their channel open, and what they have inherited; a
    # program has no other than it was given.
    awk -v logs="$logs/" '
        !/^==[0-9]+==/ { next }
        { pid = $1; gsub(/=/, "", pid); line = $0; sub(/^==[0-9]+== ?/, "", line) }
        line ~ /^FILE DESCRIPTORS/ { if (FILENAME == logs pid) programs++; else forked++; next }
        line ~ /^Open / { opened = (FILENAME == logs pid) ? line : ""; next }
        line ~ /^   <inherited from parent>/ { opened = ""; next }
        line ~ /^ *(at|by) / && opened != "" { print "left open: " opened "\n" line; bad = 1; opened = ""; next }
        line ~ /^ *(at|by) / || line == "" { if (is_error) print line; next }
        { is_error = 1; bad = 1; print }
        END {
            print "valgrind: " programs " programs and " forked " forked processes: " (bad ? "see above" : "nothing found")
            exit bad || !forked
        }
    ' "$logs"/*
}

case ${1-} in
    asan) asan ;;
    valgrind) run_valgrind ;;
    *)
        sed -n 2p "$0" >&2
        exit 2
        ;;
esac
