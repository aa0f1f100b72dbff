# Bad input: one clear sentence with the place and the nearest name, exit code 2; nothing is lost.
. "$(dirname "$0")/common.sh"

wants 2 "$FILLMARK" run --precision fp23
says err.txt "did you mean 'fp32'?"
wants 2 "$FILLMARK" run --workload segfromer
says err.txt "segformer"
wants 2 "$FILLMARK" run --memory 2GiBs
says err.txt "--memory"
wants 20 "$FILLMARK" run --resume --out nofolder
says err.txt "without --resume a new run begins there"
for bytes in '\001\377\000binary\n' '{"kind":"run"}\r\n{"kind":"end"}\r\n'; do
    rm -rf broken && mkdir broken
    # shellcheck disable=SC2059
    printf "$bytes" >broken/journal.jsonl
    wants 2 "$FILLMARK" report broken
    says err.txt "start anew in another folder"
    if grep "head -n" err.txt >/dev/null; then fail "a remedy where nothing is whole"; fi
done
rm -r broken
wants 2 "$FILLMARK" run --resume
says err.txt "--out"
wants 2 "$FILLMARK" plan --device none --workload denseunet3d --set input=10x10x10 --batch 1 --checkpoint bloks
# a device whose worker is not built is one that is not here: as without a GPU, and what is given is named
mkdir no-workers cpu-only
ln -s "$(dirname "$FILLMARK")/fillmark-worker-cpu" cpu-only/
for command in run "plan --batch 1"; do
    for device in cuda:0 GPU-00102030-4050-6070-8090-a0b0c0d0e0f0 ref cpu; do
        FILLMARK_WORKER_DIR=$PWD/no-workers wants 11 "$FILLMARK" $command --device "$device" --workload denseunet3d
        case $device in cuda*|GPU*) worker=cuda ;; *) worker=$device ;; esac
        says err.txt "--device $device: FILLMARK_WORKER_DIR: no fillmark-worker-$worker that can be run in"
        says err.txt "build the worker"
        [ "$(wc -l <err.txt)" -eq 1 ] || fail "more than one sentence"
    done
done
[ -z "$(find . -name journal.jsonl)" ] || fail "a run without a device left something behind"
# all: the CPU is taken, and one line says so and why
FILLMARK_WORKER_DIR=$PWD/cpu-only wants 0 "$FILLMARK" run --workload denseunet3d --set base_channels=2 --set levels=2 --set input=8x8x8 \
    --precision fp32 --memory 4MiB --launches 1 --out taken
says out.txt "on  cpu"
[ "$(grep -c "the CPU is taken" err.txt)" -eq 1 ] || fail "$(cat err.txt)"
says err.txt "the CPU is taken, as no GPU can be used: --device cuda:0: FILLMARK_WORKER_DIR: no fillmark-worker-cuda"
says err.txt "build the worker (cmake -DFILLMARK_CUDA=ON; it needs nvcc)"

printf 'workload: segformer\ncheckpoint: block\n' >bad.yaml
wants 2 "$FILLMARK" run bad.yaml
says err.txt "bad.yaml:2:13: checkpoint"
printf 'workload: segformer\nworkload: segformer\n' >twice.yaml
wants 2 "$FILLMARK" run twice.yaml
says err.txt "twice.yaml:2:1"

# what cannot be written is an error, and a run says where its results are all the same
if [ -w /dev/full ]; then
    small=(--workload denseunet3d --set base_channels=2 --set levels=2 --set classes=4 --set input=8x8x8 --precision fp32 --memory 4MiB)
    for words in "plan --device none" "run --device cpu --max-batch 1 --launches 1 --out unseen"; do
        # shellcheck disable=SC2086
        wants 20 sh -c 'exec "$@" >/dev/full' sh "$FILLMARK" $words "${small[@]}"
        says err.txt "error: writing to standard output failed: No space left on device"
    done
    says err.txt "results are in unseen"
    [ -s unseen/result.json ] || fail "the results are lost"
fi

# a cache that cannot be kept: one warning, and the run goes on
touch nofolder.tsv
FILLMARK_CACHE_DIR="$dir/nofolder.tsv" wants 0 "$FILLMARK" plan --device cpu "${small[@]}" --batch 1
[ "$(grep -c "warning: " err.txt)" -eq 1 ] || fail "$(cat err.txt)"
says err.txt "nofolder.tsv: Not a directory; answers about workspaces are not kept"
mkdir -m 555 readonly
if [ ! -w readonly ]; then      # root may write everywhere
    FILLMARK_CACHE_DIR="$dir/readonly" wants 0 "$FILLMARK" plan --device cpu "${small[@]}" --batch 1
    [ "$(grep -c "warning: " err.txt)" -eq 1 ] || fail "$(cat err.txt)"
    says err.txt "readonly: Permission denied; answers about workspaces are not kept"
fi
wants 0 "$FILLMARK" plan --device cpu "${small[@]}" --batch 1
[ ! -s err.txt ] || fail "$(cat err.txt)"

# fewer channels than one are no network, not a network of one
wants 0 "$FILLMARK" plan --device none "${small[@]}" --channels 1,1/2,1/64 --batch 1
says out.txt "unsupported: denseunet3d: 1/64 of 2 base channels is less than one; use another channels scale"
