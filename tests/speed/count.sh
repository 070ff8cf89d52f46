#!/usr/bin/env bash
# Counts the instructions of operations with callgrind, and compares them with instructions.txt: a row that is off by more
# than 3 %, either way, fails. The numbers are exact and repeat, but depend on the compiler: with another one, or on
# another kind of machine, the differences are only shown.
# An operation is done 10,000 times and 50,000 times; what it costs is the difference.
# Usage: tests/speed/count.sh [--write]
#   --write   writes the table anew
set -euo pipefail
shopt -s inherit_errexit
root=$(realpath "$(dirname "$0")/../..")
table=$root/tests/speed/instructions.txt
out=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")/speed
tolerance=3
few=10000 many=50000

if ! command -v valgrind >/dev/null; then
    echo "*** count: NOTHING IS COUNTED: there is no valgrind ***" >&2
    exit 0
fi

# The instructions of one run.
instructions() {
    local said
    said=$(env -i "PATH=$PATH" valgrind --tool=callgrind --callgrind-out-file=/dev/null "$out/release/count" "$@" 2>&1) || {
        echo "$said" >&2
        exit 1
    }
    awk '/Collected :/ { print $NF }' <<<"$said"
}

# The instructions of an operation done once.
per_operation() {
    local from to
    from=$(instructions "$1" "$2" $few)
    to=$(instructions "$1" "$2" $many)
    awk -v from="$from" -v to="$to" -v times=$((many - few)) 'BEGIN { printf "%.2f\n", (to - from) / times }'
}

# A row for each operation: name, size, instructions.
count_all() {
    local name size less all own
    while read -r name size less; do
        own=0
        [ "$less" = - ] || own=$(per_operation "$less" "$size")
        all=$(per_operation "$name" "$size")
        awk -v name="$name" -v size="$size" -v all="$all" -v own="$own" \
            'BEGIN { printf "%-20s %5d %9.2f\n", name, size, all - own }'
    done < <("$out/release/count" list)
}

# The table: what it is, by which compiler, rows.
print_table() {
    cat <<END
# Instructions of one operation, written by tests/speed/count.sh --write. The operations: src/count/operations.rs.
# The poller costs next to nothing; its part is subtracted from read_again. The small loop is that of a program which has
# the large one as well.
$compiler
$1
END
}

# Compares the rows on standard input with those of the table.
compare() {
    awk -v tolerance=$tolerance -v is_same="$1" '
        /^#/ { next }
        NR == FNR { if (NF == 3) wanted[$1 " " $2] = $3; next }
        {
            row = $1 " " $2
            seen[row] = 1
            if (!(row in wanted)) { printf "count: %-26s %9.2f instructions, not in the table\n", row, $3; bad = 1; next }
            percent = ($3 / wanted[row] - 1) * 100
            is_off = percent > tolerance || percent < -tolerance
            printf "count: %-26s %9.2f instructions, the table has %9.2f: %+.1f %%%s\n", row, $3, wanted[row], percent, \
                is_off ? "  OFF" : ""
            bad = bad || is_off
        }
        END {
            for (row in wanted) if (!(row in seen)) { print "count: " row ": in the table alone"; bad = 1 }
            exit bad && is_same
        }
    ' "$table" -
}

# Without flags of the caller's, which would make other code.
env -u RUSTFLAGS cargo build --quiet --locked --release --bin count --manifest-path "$root/tests/speed/Cargo.toml" --target-dir "$out"
compiler=$(rustc -vV | awk 'NR == 1 { version = $0 } /^host:/ { print version, $2 }')
rows=$(count_all)
if [ "${1-}" = --write ]; then
    print_table "$rows" | tee "$table"
    exit
fi
is_same=1
if ! grep -qxF "$compiler" "$table"; then
    is_same=0
    echo "count: the table is of another compiler ($(grep '^rustc' "$table")), so that nothing fails" >&2
fi
if ! compare $is_same <<<"$rows"; then
    echo "count: off by more than $tolerance %. If that is as it should be: tests/speed/count.sh --write, and commit the table" >&2
    exit 1
fi
