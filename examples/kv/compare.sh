#!/usr/bin/env bash
# Compares kv with redis-server by redis-benchmark, in turns (A B A B), on this machine: requests per second and CPU time
# of the server for each request, medians of all rounds, and kv's part of redis's.
# Usage: examples/kv/compare.sh [ROUNDS]     5 rounds unless it says so; KV=PATH of another binary, TESTS="get set"
# For a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."

rounds=${1:-5}
tests=${TESTS:-ping_inline ping_mbulk set get incr}
idle_clients=900
for program in redis-server redis-benchmark; do
    command -v $program >/dev/null || { echo "compare.sh: apt-get install redis-server" >&2; exit 1; }
done
if [ -z "${KV:-}" ]; then
    cargo build --quiet --release -p kpt-kv
    KV=${CARGO_TARGET_DIR:-target}/release/kv
fi

dir=$(mktemp -d)
pids=()
cleanup() {
    [ ${#pids[@]} = 0 ] || kill -9 "${pids[@]}" 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT

# Starts a server that saves nothing, with keys as many clients have them, and sets $pid and $port.
start() {
    port=$2
    case $1 in
        kv) "$KV" --port "$port" --dir "$dir" --save 0 --loglevel warning >"$dir/kv.log" 2>&1 & ;;
        redis) redis-server --port "$port" --dir "$dir" --save "" --loglevel warning >"$dir/redis.log" 2>&1 & ;;
    esac
    pid=$!
    pids+=("$pid")
    for _ in $(seq 100); do
        redis-cli -p "$port" ping >/dev/null 2>&1 && return
        sleep 0.05
    done
    echo "compare.sh: $1 does not start" >&2
    cat "$dir/$1.log" >&2
    exit 1
}

# Prints the CPU time of a process in microseconds: by the scheduler, or else in ticks of 10 ms.
cpu() {
    if [ -r "/proc/$1/schedstat" ]; then
        awk '{ printf "%d\n", $1 / 1000 }' "/proc/$1/schedstat"
    else
        awk -v hz="$(getconf CLK_TCK)" '{ printf "%d\n", ($14 + $15) * 1000000 / hz }' "/proc/$1/stat"
    fi
}

# Appends "SETTING SERVER TEST requests-per-second microseconds-per-request" to the results.
measure() {
    local setting=$1 server=$2 pid=$3 port=$4 pipeline=$5 requests=$6 test before after rps
    for test in $tests; do
        before=$(cpu "$pid")
        rps=$(redis-benchmark -p "$port" -t "$test" -n "$requests" -c 50 -P "$pipeline" --csv |
            awk -F '"' 'NR > 1 && $4 > 0 { print $4 }')
        after=$(cpu "$pid")
        echo "$setting $server $test $rps $(awk "BEGIN { print ($after - $before) / $requests }")" >>"$dir/results"
    done
}

start kv 7101
kv_pid=$pid
start redis 7102
redis_pid=$pid
for round in $(seq "$rounds"); do
    echo "round $round of $rounds" >&2
    for pipeline in 1 16; do
        requests=$((200000 * (pipeline == 1 ? 1 : 5)))
        measure "-P_$pipeline" kv "$kv_pid" 7101 $pipeline $requests
        measure "-P_$pipeline" redis "$redis_pid" 7102 $pipeline $requests
    done
done

for server in kv redis; do
    port=$([ $server = kv ] && echo 7101 || echo 7102)
    redis-benchmark -p "$port" -I -c $idle_clients >/dev/null 2>&1 &
    pids+=($!)
done
sleep 2
for round in $(seq "$rounds"); do
    echo "round $round of $rounds, with $idle_clients idle clients" >&2
    measure "-P_1,_idle" kv "$kv_pid" 7101 1 200000
    measure "-P_1,_idle" redis "$redis_pid" 7102 1 200000
done

echo "medians of $rounds rounds, 50 clients; idle: with $idle_clients idle clients beside them"
printf '%-12s %-12s %12s %12s %6s %10s %10s %6s\n' setting test "kv req/s" "redis req/s" ratio \
    "kv us/req" "redis" ratio
awk '
    { values[$1 " " $3, $2, ++count[$1 " " $3, $2]] = $4 " " $5; rows[$1 " " $3] = 1 }
    function median(row, server, field, n, i, j, list, parts, swap) {
        n = count[row, server]
        for (i = 1; i <= n; i++) { split(values[row, server, i], parts, " "); list[i] = parts[field] + 0 }
        for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++)
            if (list[j] < list[i]) { swap = list[i]; list[i] = list[j]; list[j] = swap }
        return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
    }
    END {
        for (row in rows) {
            split(row, name, " ")
            gsub("_", " ", name[1])
            a = median(row, "kv", 1); b = median(row, "redis", 1)
            c = median(row, "kv", 2); d = median(row, "redis", 2)
            printf "%-12s %-12s %12d %12d %6.2f %10.2f %10.2f %6.2f\n", name[1], name[2], a, b, a / b, c, d, c / d
        }
    }' "$dir/results" | sort
