#!/usr/bin/env bash
# One night: runs a configuration, compares it with the last good night, keeps both in a history, writes reports.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: ci/nightly.sh [OPTION...] [-- RUN-ARGUMENT...]

Runs `fillmark run RUN-ARGUMENT...` into a new folder, compares it with the last night that was good, adds it to
the history and writes the reports. Exit codes: 0 nothing is worse; 30 something is; 31 too few launches to tell;
32 nothing could be compared; else what failed (fillmark --help). Nothing that failed counts as a good night.

  --folder DIR             holds history.sqlite, a folder a night and a link to the latest (default: nightly)
  --fillmark PROGRAM       the command (default: build/fillmark, built first if it is not there)
  --max-slowdown SHARE     as fillmark compare takes it
  --max-memory-growth SHARE
  --history FILE           default: DIR/history.sqlite
USAGE
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=nightly history= fillmark= limits=()
while [ $# -gt 0 ]; do
    case $1 in
    --folder | --fillmark | --history | --max-slowdown | --max-memory-growth)
        [ $# -ge 2 ] || { echo "nightly: $1: its value is missing" >&2; exit 2; }
        case $1 in
        --folder) folder=$2 ;;
        --fillmark) fillmark=$2 ;;
        --history) history=$2 ;;
        *) limits+=("$1" "$2") ;;
        esac
        shift 2
        ;;
    --) shift; break ;;
    -h | --help) usage; exit 0 ;;
    *) echo "nightly: unknown argument '$1'" >&2; usage >&2; exit 2 ;;
    esac
done

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
history=${history:-$folder/history.sqlite}
if [ -z "$fillmark" ]; then
    fillmark=$root/build/fillmark
    if [ ! -x "$fillmark" ]; then
        "$root/ci/setup.sh" >&2
        cmake -S "$root" -B "$root/build" -DCMAKE_BUILD_TYPE=Release >&2
        cmake --build "$root/build" -j "$(nproc)" --target programs >&2
    fi
fi

# two nights of one second must not share a folder
night=$folder/$(date -u +%Y%m%dT%H%M%SZ)
while [ -e "$night" ]; do night=${night}x; done
ln -sfn "$night" "$folder/latest"
"$fillmark" run --out "$night" "$@" >"$folder/last-run.txt"

verdict=first code=0
if [ -e "$history" ] && base=$("$fillmark" history "$history" --last-good 2>/dev/null); then
    "$fillmark" compare "$base" "$night" --history "$history" "${limits[@]}" >"$night/compare.txt" || code=$?
    case $code in
    0) verdict=same ;;
    30) verdict=worse ;;
    31) verdict=undecided ;;
    32) verdict=incomparable ;;
    *) echo "nightly: the comparison with $base failed ($code)" >&2; exit "$code" ;;
    esac
    cat "$night/compare.txt"
else
    echo "nightly: no good night yet: $night is the first"
fi
"$fillmark" history "$history" --add "$night" --verdict "$verdict"
"$fillmark" report "$night" --format markdown >"$night/report.md"
"$fillmark" report "$night" --format junit >"$night/junit.xml"
"$fillmark" report "$night" --format bigger >"$night/bigger.json"
"$fillmark" report "$night" --format smaller >"$night/smaller.json"
"$fillmark" history "$history" >"$folder/history.txt"
echo "nightly: $verdict; $night, $folder/history.txt"
exit "$code"
