# Bad input: one clear sentence with the place and the nearest name, exit code 2; nothing is lost.
. "$(dirname "$0")/common.sh"

wants 2 "$FILLMARK" run --precision fp23
says err.txt "did you mean 'fp32'?"
wants 2 "$FILLMARK" run --workload segfromer
says err.txt "segformer"
wants 2 "$FILLMARK" run --memory 2GiBs
says err.txt "--memory"
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
# all: the CPU is taken
FILLMARK_WORKER_DIR=$PWD/cpu-only wants 0 "$FILLMARK" run --workload denseunet3d --set base_channels=2 --set levels=2 --set input=8x8x8 \
    --precision fp32 --memory 4MiB --launches 1 --out taken
says out.txt "on  cpu"

printf 'workload: segformer\ncheckpoint: block\n' >bad.yaml
wants 2 "$FILLMARK" run bad.yaml
says err.txt "bad.yaml:2:13: checkpoint"
printf 'workload: segformer\nworkload: segformer\n' >twice.yaml
wants 2 "$FILLMARK" run twice.yaml
says err.txt "twice.yaml:2:1"
