# A build that is slower on purpose and one that takes more memory on purpose, against one as it is; and the script that shows
# it at length. Times are those of a busy machine: ten times slower steps may be undecided here, but never pass. Memory is exact.
. "$(dirname "$0")/common.sh"
plain=$(dirname "$(readlink -f "$FILLMARK")") slowed=$FM_BINARY_DIR/handicapped/slowed fattened=$FM_BINARY_DIR/handicapped/fattened
unset FILLMARK_WORKER_DIR
cells=(--device cpu --threads 1 --memory 6MiB --workload denseunet3d --set base_channels=2 --set levels=2 --set classes=4
       --set input=16x16x16 --precision fp32)

wants 0 "$plain/fillmark" --version
[ "$(wc -l <out.txt)" -eq 1 ] || fail "a build as it is speaks of a handicap"
wants 0 "$slowed/fillmark" --version
says out.txt "handicapped on purpose: steps take 900 % longer, tensors take 0 % more bytes"
wants 0 "$fattened/fillmark" --version
says out.txt "steps take 0 % longer, tensors take 25 % more bytes"

# ci/gate-check.sh: its verdict on times is this minute's, so only its form counts here
check=(bash "$FM_SOURCE_DIR/ci/gate-check.sh" --no-build --plain "$plain" --slowed "$slowed" --fattened "$fattened" --slowdown 900
       --memory 25 --repeats 1 --launches 2 --folder gate --record gate.md -- "${cells[@]}")
for round in 1 2; do
    code=0
    "${check[@]}" >out.txt 2>err.txt || code=$?
    case $code in 0 | 1) ;; *) cat out.txt err.txt >&2; fail "gate-check: exit $code" ;; esac
    for name in repeat-01 slowed fattened slowed-first-night fattened-first-night; do says gate.md "| $name | "; done
    says gate.md "exit 30"
    [ "$(cat gate/fattened.code)" -eq 30 ] || fail "more memory was not caught"
    [ "$(cat gate/slowed.code)" -ne 0 ] || fail "ten times slower steps passed"
    case $code$(cat gate/repeat-01.code)$(cat gate/slowed.code) in
    0030 | 13130 | 130* | 1?31 | 1??31) ;;
    *) cat out.txt err.txt >&2; fail "exit $code does not follow from the verdicts" ;;
    esac
    [ "$round" -eq 1 ] || cmp gate.md first.md || fail "a second time, with all runs there, says something else"
    cp gate.md first.md
done
! grep -E "gate-check: [0-9:]+ [a-z]" err.txt >/dev/null || fail "what was run was run again"

# by memory alone, which is exact, and by its figures, not by its name
says gate/fattened/journal.jsonl '"handicap":"steps take 0 % longer, tensors take 25 % more bytes"'
! grep -F handicap gate/base/journal.jsonl >/dev/null || fail "the journal of a build as it is speaks of a handicap"
wants 30 "$plain/fillmark" compare gate/base gate/fattened --max-slowdown 99%
says out.txt worse
! grep -F "changed:" out.txt >/dev/null || fail "it was found by its name"

wants 2 "${check[@]:0:2}" --no-build --plain "$plain" --slowed "$plain" --fattened "$fattened" --memory 25 --folder gate --record gate.md
says err.txt "build it again"
wants 2 "${check[@]:0:${#check[@]}-${#cells[@]}-1}" --launches 3 -- "${cells[@]}"
says err.txt "runs of other settings"
wants 2 "${check[@]:0:2}" --repeats 0
