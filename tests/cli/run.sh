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

# --resume needs no other option: the journal has them; one that is given holds
wants 0 "$FILLMARK" run --out first --resume
[ "$(probes first)" -eq "$before" ] || fail "resuming without the options ran another campaign"
wants 22 "$FILLMARK" run --out first --resume --memory 5MiB
says err.txt "capacity_bytes: recorded with 4194304, now 5242880"
wants 22 "$FILLMARK" run --out first --resume --seed 2
says err.txt "seed"

# killed at any moment, again and again, it goes on; nothing is measured twice, nothing is lost
# (each time after one more probe: one that dies twice is taken for its own fault, and is not tried again)
rows() { grep -c '"kind":"row"' "$1/journal.jsonl" 2>/dev/null || true; }
what=("${tiny[@]}" --val-batch same,half --out killed)
for moment in 0 0.07 0.02 0.15 0.04; do
    if [ -s killed/journal.jsonl ]; then what=(--out killed --resume); fi
    done=$(rows killed)
    "$FILLMARK" run "${what[@]}" >/dev/null 2>&1 &
    pid=$!
    for _ in $(seq 600); do [ "$(rows killed)" -gt "${done:-0}" ] 2>/dev/null && break; sleep 0.02; done
    sleep "$moment"
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
done
wants 0 "$FILLMARK" run --out killed --resume --time-budget none
grep -q '"certified":[[:space:]]*true' killed/result.json || fail "not certified after resuming"
keys() { grep -o "\"kind\":\"$1\",\"v\":1,\"cell\":\"[0-9a-f]*\",\"batch\":[0-9]*,\"val_batch\":[0-9]*,$2" "$3/journal.jsonl" | sort; }
row='"phase":"[a-z]*","role":"[a-z]*","launch":[0-9]*'
[ -n "$(keys row "$row" killed)" ] || fail "no rows were found"
[ -z "$(keys row "$row" killed | uniq -d)" ] || fail "a probe was measured twice"
# what was found does not depend on the interruptions: the same boundaries as of the run that was left alone
boundaries() { grep -o '"kind":"verdict".*"certified":[a-z]*' "$1/journal.jsonl" | sed 's/"probes":{[^}]*},//' | sort -u; }
[ -n "$(boundaries first)" ] || fail "no verdicts were found"
[ "$(boundaries first)" = "$(boundaries killed)" ] || fail "other boundaries after the interruptions"

# killed before the first line was whole: its options are lost, and no others are taken; begun again it is as ever
mkdir torn
for bytes in 0 1 16 17 18 100 200; do
    head -c "$bytes" first/journal.jsonl >torn/journal.jsonl
    wants 2 "$FILLMARK" run --resume --out torn
    says err.txt "the run in torn ended before its options were written"
    says err.txt "give its options without --resume, or delete that folder"
    [ "$(wc -c <torn/journal.jsonl)" -eq "$bytes" ] || fail "$bytes bytes: the journal was changed"
done
wants 0 "$FILLMARK" run "${tiny[@]}" --out torn --time-budget none
grep -q '"certified":[[:space:]]*true' torn/result.json || fail "not certified in a folder with a torn journal"

# A run that was cut: all of its cells are listed, those too that were not begun; and how to go on
mkdir cut
sed '/"kind":"start"/q' first/journal.jsonl >cut/journal.jsonl
wants 0 "$FILLMARK" report cut
says out.txt "this run did not end; --resume goes on with it"
says out.txt "not finished: val_batch=same"
says out.txt "not begun: val_batch=half"
says out.txt "fillmark ended while a probe of it ran; --resume goes on with it"

# a folder whose files cannot be replaced, as one that may only be read: the tables are printed all the same
cp -r first fixed
rm fixed/rows.jsonl
mkdir -p fixed/rows.jsonl/in-the-way
wants 0 "$FILLMARK" report fixed
says out.txt "max batch"
says err.txt "were not made again"

# Ctrl-C: the journal is kept, the way to go on is named
"$FILLMARK" run "${tiny[@]}" --out stopped --time-budget none >out.txt 2>err.txt &
pid=$!
for _ in $(seq 100); do [ "$(probes stopped 2>/dev/null || echo 0)" -ge 1 ] 2>/dev/null && break; sleep 0.05; done
kill -INT "$pid"
status=0
wait "$pid" || status=$?
[ "$status" -eq 130 ] || fail "interrupted: exit code $status, not 130"
says err.txt "fillmark run --resume --out stopped"
[ -s stopped/result.json ] || fail "no results after an interruption"
wants 0 "$FILLMARK" run --resume --out stopped
grep -q '"certified":[[:space:]]*true' stopped/result.json || fail "not certified after the interruption"

# the same result in each format, and an unknown one
for format in text markdown csv json junit bigger smaller svg; do
    wants 0 "$FILLMARK" report first --format "$format"
    [ -s out.txt ] || fail "report --format $format is empty"
done
wants 2 "$FILLMARK" report first --format junitt
says err.txt "did you mean 'junit'?"
