# Plans, shows and devices: what needs no execution. The peaks are PyTorch's own (tests/data/torch_peaks.tsv).
. "$(dirname "$0")/common.sh"

# peak MIB options...: planned allocated peak of training
peak() {
    local want=$1
    shift
    wants 0 "$FILLMARK" plan --device none --loop plain --accounting dispatch --json "$@"
    local bytes
    bytes=$(sed -n 's/.*"allocated_bytes":[[:space:]]*\([0-9]*\).*/\1/p' out.txt | head -1)
    awk -v b="$bytes" -v w="$want" 'BEGIN { m = b / 1048576; exit !(m > w * 0.999 && m < w * 1.001) }' || fail "$bytes bytes, not $want MiB: $*"
}

unet=(--workload denseunet3d --batch 1)
peak 16768.741 "${unet[@]}"
peak 10340.565 "${unet[@]}" --precision fp16
peak 8787.440 "${unet[@]}" --checkpoint blocks
light=(--workload denseunet3d --set base_channels=8 --set levels=3 --set input=64x64x64 --batch 4)
peak 1763.420 "${light[@]}"
peak 1181.957 "${light[@]}" --precision fp16
peak 199.330 --workload segformer --set input=224x224 --batch 2
peak 178.881 --workload segformer --set input=224x224 --batch 2 --precision fp16
peak 1603.667 --workload segformer --set variant=b2 --set input=256x256 --batch 4
peak 1394.232 --workload segformer --set variant=b2 --set input=256x256 --batch 4 --precision fp16

# attention in one kernel, and what PyTorch's own would hold beside it, which no peak has: batch 4, 1 head of 32 channels,
# (512 / 4)^2 queries, in fp32, and a number a query
peak 1194.893 --workload segformer --set input=512x512 --batch 4 --precision bf16 --attention flash
says out.txt "\"pytorch_flash_temporaries_bytes\":	$((4 * 16384 * 32 * 4 + 4 * 16384 * 4))"
wants 0 "$FILLMARK" plan --device none --workload segformer --set input=512x512 --batch 4 --precision bf16 --attention math,flash
says out.txt "flash attention's backward would hold 8.2 MiB of temporaries in PyTorch's kernel, which no figure here counts"
[ "$(grep -c "flash attention's backward" out.txt)" = 1 ] || fail "said of attention that is not flash"
wants 0 "$FILLMARK" plan --device none --workload segformer --batch 4 --precision fp32,tf32 --attention flash
says out.txt "unsupported: flash attention is for fp16 and bf16"

# TF32 and timed engines change no tensor: without a device they are planned, and where they cannot be it is said
peak 1763.420 "${light[@]}" --precision tf32
peak 1763.420 "${light[@]}" --cudnn-benchmark on
if [ -x "$(dirname "$FILLMARK")/fillmark-worker-cpu" ] && ! grep avx512_fp16 /proc/cpuinfo >/dev/null; then
    # a reason is told to its end, also from the cache
    for again in 1 2; do
        wants 0 "$FILLMARK" plan --device cpu --workload segformer --precision fp16
        says out.txt "f16 needs oneDNN 3 and a CPU with AVX512-FP16; oneDNN "
        says out.txt " here"
    done
fi
for device in cpu ref; do
    [ -x "$(dirname "$FILLMARK")/fillmark-worker-$device" ] || continue
    wants 0 "$FILLMARK" plan --device $device "${light[@]}" --precision tf32
    says out.txt "TF32 is of NVIDIA's tensor cores; $( [ $device = cpu ] && echo 'the cpu' || echo ref ) has fp32"
    wants 0 "$FILLMARK" plan --device $device "${light[@]}" --cudnn-benchmark on
    says out.txt "cudnn_benchmark is of NVIDIA's GPUs"
done

wants 0 "$FILLMARK" plan --device none --workload denseunet3d --memory 24GiB
says out.txt "planned, nothing was run"
# a batch that does not fit has no peaks of its own: it is said
wants 0 "$FILLMARK" plan --device none --workload denseunet3d --memory 1GiB --batch 50
says out.txt "batch 50 does not fit: its peaks are those before the allocation that fails"
wants 0 "$FILLMARK" plan --device none --workload denseunet3d --memory 1TiB --batch 2
if grep -F "does not fit" out.txt; then fail "it fits"; fi

mkdir none
# kept: a run's folder, whose commands plan; once, and only where --out was meant for the plan
light=(--workload denseunet3d --set base_channels=4 --set levels=3 --set input=32x32x32)
wants 0 "$FILLMARK" plan --device none "${light[@]}" --precision fp32,bf16 --memory 64MiB --out plans --json
mv out.txt printed.json
for file in journal.jsonl rows.jsonl table.csv table.md result.json; do [ -s "plans/$file" ] || fail "no plans/$file"; done
wants 0 "$FILLMARK" report plans --json
cmp -s out.txt printed.json || fail "report says something else than plan did"
wants 0 "$FILLMARK" plan --device none "${light[@]}" --precision fp32,bf16 --memory 64MiB
mv out.txt printed.txt
wants 0 "$FILLMARK" report plans
sed '/^  again:$/,/^$/d' out.txt >table.txt
cmp -s table.txt printed.txt || { diff printed.txt table.txt >&2; fail "report prints another table than plan did"; }
says plans/table.md "| planned reserved GiB |"
again=$(sed -n 's/^ *[0-9a-f]\{8\}  fillmark \(plan .*\)/\1/p' out.txt | head -1)
[ -n "$again" ] || { cat out.txt >&2; fail "how to plan it again is not said"; }
eval "wants 0 \"\$FILLMARK\" $again"
# and so do the others: the printed line plans that cell alone, with the same figures; from options and from a file
cat >'my card.yaml' <<'END'
sources: { lab: measured here }
devices:
  mine:
    name: Card of mine
    capability: [8.9, lab]
    sms: [20, lab]
    memory_gib: [10, lab]
    bus_bits: [128, lab]
    bandwidth_gbs: [300, lab]
    boost_mhz: [2000, lab]
    l2_kib: [4096, lab]
    fp32_tflops: [10, lab]
    fp16_tflops: [20, lab]
    bf16_tflops: [20, lab]
END
again() {
    wants 0 "$FILLMARK" plan "$@" --json
    sed -n 's/.*"reproduce":[[:space:]]*"fillmark \(plan .*\)",*$/\1/p' out.txt >again.txt
    [ -s again.txt ] || fail "how to plan it again is not said: $*"
    figures out.txt >want.txt
    while read -r -u 3 line; do
        eval "wants 0 \"\$FILLMARK\" $line --json"
        figures out.txt
    done 3<again.txt >got.txt
    cmp -s <(sort want.txt) <(sort got.txt) || { diff want.txt got.txt >&2; fail "planned otherwise again: $*"; }
}
# cell, batch, bytes: lines of result.json from each cell on
figures() { grep -oE '"(id|train|val|batch|allocated_bytes|reserved_bytes|needed_bytes)":[[:space:]]*("[0-9a-f]{16}"|[0-9]+|null)' "$1" | tr -d '\n\t ' | sed 's/"id"/\n&/g; $s/$/\n/' | grep '"id"'; }
again --device none --batch 3 "${light[@]}" --precision fp32,bf16
says out.txt '"batch":	3'
says again.txt "--batch 3"
again --device mine --device-file 'my card.yaml' --max-batch 5 "${light[@]}" --precision fp16 --checkpoint none,blocks
says again.txt "--device-file 'my card.yaml' "
printf 'workload: segformer\nbatch: 2\naccounting: dispatch\nattention: flash\nprecision: bf16\nmemory-format: [channels_last]\n' >of.yaml
again of.yaml --device none
says again.txt "--batch 2"
says again.txt "--attention flash"
# what plans lack is said wherever they are printed
FILLMARK_WORKER_DIR="$dir/none" wants 0 "$FILLMARK" plan --device v100-16g "${light[@]}" --out lacking
for file in out.txt lacking/table.md; do says $file "workspace 0 for convolutions, so batches come out too large"; done
wants 0 "$FILLMARK" report lacking
says out.txt "workspace 0 for convolutions, so batches come out too large"
# nothing of plans was measured: they are no night
wants 2 "$FILLMARK" history nights.sqlite --add plans --verdict first
says err.txt "of which nothing was measured"
wants 2 "$FILLMARK" plan --device none "${light[@]}" --out plans
says err.txt "holds a run already"
printf 'workload: [segformer]\nout: of-the-run\n' >config.yaml
wants 0 "$FILLMARK" plan config.yaml --device none --batch 1
[ ! -e of-the-run ] || fail "a plan made the folder of a run"
wants 0 "$FILLMARK" plan --resume --out plans --json
cmp -s <(grep '"reproduce"' out.txt) <(grep '"reproduce"' printed.json) || fail "what is resumed is planned again otherwise"
wants 0 "$FILLMARK" plan --resume --out plans --device none
# what a double does not hold exactly is told in digits; and what holds more than a petabyte can be gone on with
wants 0 "$FILLMARK" show workload denseunet3d --set input=4096x4096x4096 --set base_channels=256 --json
says out.txt '"macs": "2117852909143064576"'
huge=(--device none --workload denseunet3d --set input=4096x4096x4096 --set base_channels=256 --batch 1 --memory 1024TiB)
wants 0 "$FILLMARK" plan "${huge[@]}" --json --out huge
says out.txt '"flops_per_sample":	"4235705818286129152"'
if grep -E '[^0-9"][0-9]{17,}|[0-9]e[+]' out.txt; then fail "numbers that lose digits"; fi
mv out.txt huge.json
wants 0 "$FILLMARK" report huge --json
cmp out.txt huge.json || fail "read back, the figures are others"
wants 0 "$FILLMARK" plan --resume --out huge --json
wants 0 "$FILLMARK" report huge
says out.txt "limit 1048576.000 GiB"
wants 0 "$FILLMARK" plan "${huge[@]}"
says out.txt "inputs 786432.0 MiB"
wants 0 "$FILLMARK" show workloads
says out.txt "segformer"
wants 0 "$FILLMARK" show workload denseunet3d --layers
cmp -s out.txt "$FM_SOURCE_DIR/tests/data/layers/a_denseunet3d_c16.tsv" || fail "layers are not the published table"
wants 0 "$FILLMARK" show workload segformer --json
says out.txt '"parameters"'
wants 0 "$FILLMARK" show workload segformer --yaml
if [ -x "$(dirname "$FILLMARK")/fillmark-worker-cpu" ]; then     # not built where oneDNN is too old
    wants 0 "$FILLMARK" devices
    says out.txt "cpu"
    wants 0 "$FILLMARK" devices --json
fi
# a device whose worker is not there does not hide the others; without any it is said which worker is missing
FILLMARK_WORKER_DIR="$dir/none" wants 2 "$FILLMARK" devices
says err.txt "no fillmark-worker-cpu"
wants 0 "$FILLMARK" --help
wants 0 "$FILLMARK" --version
