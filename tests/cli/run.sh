# A whole run, tiny: real steps, real OOMs, a ranked table; the journal, the report and resuming.
. "$(dirname "$0")/common.sh"

tiny=(--device cpu --workload denseunet3d --set base_channels=2 --set levels=2 --set classes=4 --set input=8x8x8
      --precision fp32 --memory 4MiB --launches 1)

wants 0 "$FILLMARK" run "${tiny[@]}" --val-batch same,half --out first --time-budget none
says out.txt "max batch"
says err.txt "results are in first"
for file in journal.jsonl rows.jsonl table.csv table.md result.json; do [ -s "first/$file" ] || fail "no $file"; done
grep -q "differ by" out.txt && fail "planned and counted memory differ"
grep -q '"outcome":"oom_device"' first/rows.jsonl || fail "no probe met the limit"
grep -q '"certified":[[:space:]]*true' first/result.json || fail "nothing is certified"

# the same tables again, from the journal alone
cp first/table.md before.md
wants 0 "$FILLMARK" report first
cmp -s before.md first/table.md || fail "report gives another table.md"

# a finished run has nothing left to do: resuming it measures nothing
probes() { grep -c '"kind":"start"' "$1/journal.jsonl" || true; }
before=$(probes first)
wants 0 "$FILLMARK" run "${tiny[@]}" --val-batch same,half --out first --resume --time-budget none
[ "$(probes first)" -eq "$before" ] || fail "resuming a finished run measured again"

# a folder with a run in it is not written over
wants 2 "$FILLMARK" run "${tiny[@]}" --out first
says err.txt "first"

# killed in the middle, it goes on
"$FILLMARK" run "${tiny[@]}" --out killed --time-budget none >/dev/null 2>&1 &
pid=$!
for _ in $(seq 100); do [ "$(probes killed 2>/dev/null || echo 0)" -ge 2 ] 2>/dev/null && break; sleep 0.05; done
kill -KILL "$pid" 2>/dev/null || true
wait "$pid" 2>/dev/null || true
wants 0 "$FILLMARK" run "${tiny[@]}" --out killed --resume --time-budget none
grep -q '"certified":[[:space:]]*true' killed/result.json || fail "not certified after resuming"
