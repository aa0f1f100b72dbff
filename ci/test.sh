#!/usr/bin/env bash
# Builds fillmark and runs all of its tests: as released, and under the sanitizers.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: ci/test.sh [--release-only] [--help]

Sets up (ci/setup.sh), builds and runs the whole test suite three times: the release build in build/, the
address and undefined-behaviour sanitizers in build-asan/, and, for the tests of the parts with threads of
their own, the thread sanitizer in build-tsan/. The last line has ctest's form and is the sum of its counts.
The exit code is 0 if every test of every build passed.

  --release-only   the release build's tests alone
USAGE
}

presets=(release asan tsan)
for argument in "$@"; do
    case "$argument" in
    --release-only) presets=(release) ;;
    -h | --help) usage; exit 0 ;;
    *) echo "test: unknown argument '$argument'" >&2; usage >&2; exit 2 ;;
    esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
ci/setup.sh
# one test more where there is one; where there is none, that test says so
ci/setup.sh --browser || echo "test: no browser could be installed: report.html is not looked at" >&2
jobs=$(nproc)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# The thread sanitizer of older compilers cannot place its shadow memory where the kernel randomizes addresses
# by many bits: then its programs run without that, where this is permitted.
tsan_prefix=()
probe_tsan() {
    local probe=build-tsan/probe
    mkdir -p build-tsan
    echo 'int main(void) { return 0; }' | "${CC:-cc}" -fsanitize=thread -x c - -o $probe || return 1
    $probe 2>/dev/null && return 0
    tsan_prefix=(setarch "$(uname -m)" -R)
    "${tsan_prefix[@]}" $probe 2>/dev/null
}

passed=0
failed=0
lines=()
for preset in "${presets[@]}"; do
    echo "== $preset: build"
    prefix=()
    if [ "$preset" = tsan ]; then
        probe_tsan || { echo "test: the thread sanitizer's programs do not run on this system" >&2; exit 1; }
        prefix=("${tsan_prefix[@]}")
    fi
    cmake --preset "$preset" >"$log" 2>&1 || { cat "$log"; echo "test: $preset: configuration failed" >&2; exit 1; }
    cmake --build --preset "$preset" -j "$jobs"

    echo "== $preset: tests"
    status=0
    "${prefix[@]}" ctest --preset "$preset" --no-tests=error -j "$jobs" 2>&1 | tee "$log" || status=$?
    count=$(grep -E '^[0-9]+% tests passed, [0-9]+ tests? failed out of [0-9]+$' "$log" | tail -n 1) || count=
    if [ -z "$count" ]; then
        echo "test: $preset: ctest ran no tests" >&2
        exit 1
    fi
    read -r bad total < <(sed -E 's/.*passed, ([0-9]+) tests? failed out of ([0-9]+)/\1 \2/' <<<"$count")
    # a ctest that fails without a failed test must not pass for a success
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        echo "test: $preset: ctest failed with status $status" >&2
        exit 1
    fi
    lines+=("$(printf '%-8s %s' "$preset" "$count")")
    failed=$((failed + bad))
    passed=$((passed + total - bad))
done

all=$((passed + failed))
echo "== summary"
printf '%s\n' "${lines[@]}"
printf '%d%% tests passed, %d tests failed out of %d\n' $((passed * 100 / all)) "$failed" "$all"
[ "$failed" -eq 0 ]
