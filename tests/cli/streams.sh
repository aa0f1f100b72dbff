#!/usr/bin/env bash
# Standard streams that are closed: nothing that is printed gets into a file, and the journal is whole.
. "${FM_SOURCE_DIR:?}/tests/cli/common.sh"
cell=(--device ref --workload denseunet3d --set base_channels=2 --set levels=2 --set classes=4 --set input=8x8x8 --precision fp32
    --checkpoint none --channels 1 --val-batch same --max-batch 2 --launches 1 --memory 64MiB)

code=0
"$FILLMARK" run "${cell[@]}" --out closed_stdout >&- 2>err.txt || code=$?
[ $code -eq 20 ] || { cat err.txt >&2; fail "exit code $code of a run whose table cannot be written, not 20"; }
wants 0 "$FILLMARK" report closed_stdout
says out.txt "denseunet3d"

code=0
"$FILLMARK" run "${cell[@]}" --out closed_stderr 2>&- >out.txt || code=$?
[ $code -eq 0 ] || fail "exit code $code of a run without stderr"
says out.txt "denseunet3d"
wants 0 "$FILLMARK" report closed_stderr
"$FILLMARK" run "${cell[@]}" --out closed_all >&- 2>&- <&- || true
wants 0 "$FILLMARK" report closed_all

code=0
"$FILLMARK" plan --device none --workload denseunet3d --out plans 2>&- >out.txt || code=$?
[ $code -eq 0 ] || fail "exit code $code of a plan without stderr"
wants 0 "$FILLMARK" report plans
