#!/usr/bin/env bash
# Does the nightly gate work on this machine? Repeats of one build must raise no alarm, builds that are worse on purpose must.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: ci/gate-check.sh [OPTION...] [-- RUN-ARGUMENT...]

Builds fillmark three times: as it is, with steps that take longer, and with tensors that take more memory. Then runs one
configuration of both networks on the cpu backend: a base, repeats of the same build, the two worse builds. Each is judged as
ci/nightly.sh does, by `fillmark compare` at its default limits with the history of the runs before it, but always against
the base. Writes a record of all verdicts. What was run is kept and not run again: after an interruption, the same command.

A worse build says that it is in `fillmark --version` and in its journal; compare looks at neither, only at the figures.

  --repeats N         of the same build (default: 20)
  --slowdown PERCENT  how much longer the steps of the slowed build take (default: 20)
  --memory PERCENT    how much more the tensors of the fattened build take (default: 5)
  --launches N        worker launches behind each figure (default: 7)
  --folder DIR        the runs and their history (default: results-gate)
  --record FILE       default: docs/measured/cpu/gate.md
  --plain DIR, --slowed DIR, --fattened DIR
                      build folders (default: build, build-gate-slowed, build-gate-fattened)
  --no-build          they are built already

What follows -- replaces the cells, device, threads and memory limit of the run. Nobody else should use the machine meanwhile.
A slowdown near to the tolerated one (5 %) cannot be told from what nights move by: compare says undecided.

Exit codes: 0 no repeat raised an alarm (exit 30), at most a fifth are undecided, both worse builds raised one; 1 not so; 2 usage; else what failed.
USAGE
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
repeats=20 slowdown=20 memory=5 launches=7 build=yes
folder=$root/results-gate record=$root/docs/measured/cpu/gate.md
plain=$root/build slowed=$root/build-gate-slowed fattened=$root/build-gate-fattened
# one thread: what else runs finds another core, and threads that wait for one another do not add to the noise
cells=(--device cpu --threads 1 --memory 144MiB --workload denseunet3d,segformer --precision fp32
       --set denseunet3d.base_channels=4 --set denseunet3d.levels=3 --set denseunet3d.classes=8
       --set denseunet3d.input=24x24x24 --set segformer.input=96x96)
die() { echo "gate-check: $1" >&2; exit "${2:-2}"; }
while [ $# -gt 0 ]; do
    case $1 in
    --repeats | --slowdown | --memory | --launches)
        [[ ${2:-} =~ ^[1-9][0-9]{0,2}$ ]] || die "$1: '${2:-}' is no whole number from 1 to 999"
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    --folder | --record | --plain | --slowed | --fattened)
        [ $# -ge 2 ] || die "$1: its value is missing"
        printf -v "${1#--}" %s "$(realpath -m -- "$2")"
        shift 2
        ;;
    --no-build) build=no; shift ;;
    --) shift; cells=("$@"); break ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "unknown argument '$1'" ;;
    esac
done
command -v python3 >/dev/null || die "python3 is needed for the record" 1

# make FOLDER SLOWDOWN MEMORY
make() {
    cmake -S "$root" -B "$1" -DCMAKE_BUILD_TYPE=Release -DFILLMARK_HANDICAP_SLOWDOWN_PERCENT="$2" \
        -DFILLMARK_HANDICAP_MEMORY_PERCENT="$3" >&2
    cmake --build "$1" -j "$(nproc)" --target fillmark --target fillmark-worker-cpu >&2
}
if [ "$build" = yes ]; then
    "$root/ci/setup.sh" >&2
    make "$plain" 0 0
    make "$slowed" "$slowdown" 0
    make "$fattened" 0 "$memory"
fi
# is FOLDER SLOWDOWN MEMORY: the build says so itself
is() {
    local want="handicapped on purpose: steps take $2 % longer, tensors take $3 % more bytes" says
    says=$("$1/fillmark" --version | sed -n 2p)
    [ "$2$3" != 00 ] || want=""
    [ "$says" = "$want" ] || die "$1/fillmark --version says '$says', not '$want': build it again, or give its percentage"
}
is "$plain" 0 0
is "$slowed" "$slowdown" 0
is "$fattened" 0 "$memory"

# runs of two kinds must not meet in one folder; an earlier record is no change
mkdir -p "$folder" "$(dirname "$record")"
commit=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git -C "$root" status --porcelain --untracked-files=no -- "$root" ":!$root/docs/measured" 2>/dev/null)" ] || commit="$commit, with changes"
settings=$(printf '%s\n' "commit: $commit" "cells: ${cells[*]}" "launches: $launches" "slowdown: $slowdown" "memory: $memory")
if [ -e "$folder/settings.txt" ] && [ "$(cat "$folder/settings.txt")" != "$settings" ]; then
    diff <(cat "$folder/settings.txt") <(printf '%s\n' "$settings") >&2 || true
    die "$folder holds runs of other settings: remove it, or give another --folder"
fi
printf '%s\n' "$settings" >"$folder/settings.txt"
export FILLMARK_CACHE_DIR=$folder/cache

# once NAME BUILD: unless it is there, whole
once() {
    [ ! -e "$folder/$1/done" ] || return 0
    rm -rf "${folder:?}/$1"
    echo "gate-check: $(date -u +%H:%M:%S) $1" >&2
    "$2/fillmark" run "${cells[@]}" --time-budget none --launches "$launches" --out "$folder/$1" >"$folder/$1.txt" 2>"$folder/$1.log" ||
        die "$1 failed: $folder/$1.log" 1
    touch "$folder/$1/done"
}

# judge NAME AS [HISTORY-OPTION...]: its verdict, as AS.json and AS.code; compare itself must not fail
judge() {
    local code=0
    "$plain/fillmark" compare "$folder/base" "$folder/$1" "${@:3}" --json >"$folder/$2.json" 2>"$folder/$2.err" || code=$?
    case $code in 0 | 30 | 31 | 32) ;; *) die "the comparison of $1 failed ($code): $(cat "$folder/$2.err")" 1 ;; esac
    echo "$code" >"$folder/$2.code"
    echo "gate-check: $2: exit $code" >&2
}

# remember NAME VERDICT
remember() {
    "$plain/fillmark" history "$history" --add "$folder/$1" --verdict "$2" >"$folder/history.log" 2>&1 || die "$(cat "$folder/history.log")" 1
}

# The history is made again each time: which nights it knew is part of a verdict.
history=$folder/history.sqlite
rm -f "$history"
names=()
once base "$plain"
remember base first
for ((i = 1; i <= repeats; i++)); do
    name=$(printf 'repeat-%02d' "$i")
    once "$name" "$plain"
    judge "$name" "$name" --history "$history"
    case $(cat "$folder/$name.code") in 0) verdict=same ;; 30) verdict=worse ;; 31) verdict=undecided ;; *) verdict=incomparable ;; esac
    remember "$name" "$verdict"
    names+=("$name")
done
for name in slowed fattened; do
    once "$name" "${!name}"
    judge "$name" "$name" --history "$history"
    judge "$name" "$name-first-night"
    names+=("$name" "$name-first-night")
done
python3 "$root/ci/gate_record.py" "$folder" "$record" "${names[@]}"
