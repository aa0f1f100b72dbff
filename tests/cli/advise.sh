# fillmark advise and fillmark explain; every command of docs/out-of-memory.md, in its order, on its own message.
# One of them is a run with --device cpu.
. "$(dirname "$0")/common.sh"
doc="$FM_SOURCE_DIR/docs/out-of-memory.md"

# the message that the document quotes
awk '/^```oom.txt/ { on = 1; next } /^```/ { on = 0 } on' "$doc" >oom.txt
[ -s oom.txt ] || fail "no message in $doc"

PATH="$(dirname "$(readlink -f "$FILLMARK")"):$PATH"
count=0
while IFS= read -r line; do
    wants 0 bash -c "$line"
    [ -s out.txt ] || fail "printed nothing: $line"
    count=$((count + 1))
done < <(sed -n 's/^    \(fillmark .*\)/\1/p' "$doc")
[ "$count" -ge 8 ] || fail "only $count commands in $doc"

# what the document says of it
wants 0 "$FILLMARK" explain oom.txt --workload denseunet3d --set n_infers=3
says out.txt "dec1.cat at batch 2 on that device, in validation before any training step, the 2nd of 3"
says out.txt "about 20 GiB"
says out.txt "21.57 GiB"
says out.txt "DistributedDataParallel's gradient buckets, as the message says"
wants 0 "$FILLMARK" explain - <oom.txt
says out.txt "other processes"
wants 0 "$FILLMARK" explain <oom.txt --json
says out.txt '"fillmark.explain/1"'

# garbage and mistakes
echo "loss is nan" >nothing.txt
wants 2 "$FILLMARK" explain nothing.txt
says err.txt "no out-of-memory message"
wants 2 "$FILLMARK" explain oom.txt --precision fp16
says err.txt "--workload"
wants 20 "$FILLMARK" explain not-here.txt
wants 2 "$FILLMARK" explain oom.txt --workload denseunet3d --set n_infer=3
says err.txt "n_infers"
head -c 100000 /dev/urandom >random
code=0
"$FILLMARK" explain random >/dev/null 2>err.txt || code=$?
[ "$code" -eq 2 ] || fail "random bytes: exit code $code"

# the run of the document, again
wants 0 "$FILLMARK" advise tiny --workload denseunet3d
says out.txt "measured, objective knee"
says out.txt "again"
wants 0 "$FILLMARK" advise tiny --workload denseunet3d --target-global-batch 8 --json
grep -q '"global_batch":[[:space:]]*8' out.txt || fail "the global batch is not kept"
wants 10 "$FILLMARK" advise tiny --workload denseunet3d --max-memory 1KiB
says out.txt "nothing fits"
wants 2 "$FILLMARK" advise tiny --workload denseunet3d --allow chanels
says err.txt "did you mean 'channels'?"
wants 2 "$FILLMARK" advise tiny --workload denseunet3d --objective fast
says err.txt "throughput"
wants 2 "$FILLMARK" advise tiny --workload denseunet3d --headroom lots
says err.txt "--headroom"
wants 2 "$FILLMARK" advise tiny
says err.txt "--workload"
wants 2 "$FILLMARK" advise tiny --workload segformer
says err.txt "no cell of segformer"

# plans: no run, no device
# a batch that a target is made of is planned itself, not bounded by the largest one
wants 0 "$FILLMARK" advise --device none --memory 3GiB --workload segformer --precision bf16 --target-global-batch 8 --json
cp out.txt advised.json
wants 0 "$FILLMARK" plan --device none --workload segformer --precision bf16 --batch 8 --json
python3 - advised.json out.txt <<'PY'
import json, sys
best, planned = json.load(open(sys.argv[1]))["best"], json.load(open(sys.argv[2]))["rows"]
want = max(r["planned"]["reserved_bytes"] for r in planned)
assert best["batch"] == 8 and best["max_batch"] > 8, best
assert best["memory_bytes"] == want and not best["memory_is_bound"], (best["memory_bytes"], want)
PY
wants 0 "$FILLMARK" advise --workload denseunet3d --device none --memory 24GiB
says out.txt "PLANNED: nothing was run"
wants 10 "$FILLMARK" advise --workload denseunet3d --device none --memory 5GiB
says out.txt "input=80x80x128"
wants 2 "$FILLMARK" advise --workload denseunet3d --device none
says err.txt "--memory"
