# Plans for GPUs that are not here, by the command: sections, limits, what is unsupported, what is assumed, what is missing.
. "$FM_SOURCE_DIR/tests/cli/common.sh"

small=(--workload denseunet3d --set base_channels=8 --set levels=3 --set input=64x64x64)

wants 0 "$FILLMARK" show devices
for device in gtx1650 rtx2060 t4 rtx3050 rtx4090 rtx5090 a100-40g a100-80g h100 h200 b200 v100-16g; do says out.txt "$device"; done
wants 0 "$FILLMARK" show devices --json
says out.txt '"cudnn"'

# names: checked against the table, with the place
wants 2 "$FILLMARK" plan --device rtx409
says err.txt "--device: unknown device 'rtx409'; did you mean 'rtx4090'?"
printf 'workload: segformer\ndevice: [t4, l40x]\n' >bad.yaml
wants 2 "$FILLMARK" plan bad.yaml
says err.txt "bad.yaml:2:14: device: unknown device 'l40x'; did you mean 'l40s'?"
wants 2 "$FILLMARK" run --device rtx4090
wants 2 "$FILLMARK" plan --device t4 --memory 40GiB
says err.txt "more than"

# a table of one's own
cat >mine.yaml <<'END'
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
END
wants 0 "$FILLMARK" plan --device mine --device-file mine.yaml "${small[@]}"
says out.txt "denseunet3d  on  mine · Card of mine · sm_89"
says out.txt "10.000 GiB · limit 9.500 GiB"
says out.txt "assumed: 512.0 MiB"
wants 20 "$FILLMARK" plan --device mine --device-file none.yaml
sed 's/sms: .20/sms: [x/' mine.yaml >broken.yaml
wants 2 "$FILLMARK" plan --device mine --device-file broken.yaml
says err.txt "broken.yaml:6:10: devices.mine.sms: 'x' is not a whole number"

# a run to calibrate by: it must be one, and have measured steps of the device
wants 20 "$FILLMARK" plan --device mine --device-file mine.yaml --calibrate nowhere
wants 0 "$FILLMARK" plan --device none --memory 1GiB --out planned "${small[@]}"
wants 2 "$FILLMARK" plan --device mine --device-file mine.yaml --calibrate planned "${small[@]}"
says err.txt "--calibrate: planned has no measured steps of Card of mine"
wants 2 "$FILLMARK" plan --device none --calibrate planned "${small[@]}"
says err.txt "so its peak rates are not known"

# without a cuDNN to ask, and for what no cuDNN of today knows: workspace 0, and it says so
mkdir empty
FILLMARK_WORKER_DIR=$dir/empty wants 0 "$FILLMARK" plan --device rtx4090 --precision fp16 "${small[@]}"
says out.txt "no cuDNN"
says out.txt "planned with workspace 0 for convolutions, so batches come out too large"
without=$(grep 'at the peak' out.txt)
FILLMARK_WORKER_DIR=$dir/empty wants 0 "$FILLMARK" plan --device v100-16g --precision bf16 "${small[@]}"
says out.txt "sm_70 does not compute in bf16"
FILLMARK_WORKER_DIR=$dir/empty wants 0 "$FILLMARK" plan --device t4 --precision tf32 "${small[@]}"
says out.txt "sm_75 does not compute in tf32"
# attention in one kernel is not for them either, at any batch
for device in v100-16g t4 gtx1650; do
    FILLMARK_WORKER_DIR=$dir/empty wants 0 "$FILLMARK" plan --device $device --workload segformer --attention flash --precision fp16
    says out.txt "sdpa: flash attention needs compute capability 8.0; this is sm_7"
    if grep 'at the peak' out.txt >/dev/null; then fail "flash attention was planned on $device"; fi
done
FILLMARK_WORKER_DIR=$dir/empty wants 0 "$FILLMARK" plan --device rtx4090 --workload segformer --attention flash --precision fp16
says out.txt "at the peak"

worker=$(dirname "$FILLMARK")/fillmark-worker-spec
[ -x "$worker" ] || { echo "the rest is skipped: built without cuDNN"; exit 0; }

wants 0 "$FILLMARK" plan --device rtx4090,h100 --precision fp32,fp16 "${small[@]}"
says out.txt "planned, nothing was run"
says out.txt "denseunet3d  on  rtx4090"
says out.txt "denseunet3d  on  h100"
says out.txt "PyTorch 2.6 came with cuDNN 9.1"
grep -qF "$without" out.txt && fail "cuDNN's workspaces change nothing"
cp out.txt first.txt
wants 0 "$FILLMARK" plan --device rtx4090,h100 --precision fp32,fp16 "${small[@]}"
cmp out.txt first.txt || fail "what the cache has plans otherwise"

wants 0 "$FILLMARK" plan --device t4 --precision bf16 "${small[@]}"
says out.txt "has no engine for this bf16 convolution on sm_75"
wants 0 "$FILLMARK" plan --device t4 --precision tf32 "${small[@]}"
says out.txt "TF32 needs compute capability 8.0; this is sm_75"
wants 0 "$FILLMARK" plan --device rtx4090 --precision fp32,tf32 "${small[@]}"
says out.txt "tf32"
# which engine is fastest no plan knows: it takes what needs most, and says so
wants 0 "$FILLMARK" plan --device rtx4090 --precision fp16 --cudnn-benchmark off,on "${small[@]}"
says out.txt "which engine is fastest is known only when they are timed"
wants 0 "$FILLMARK" plan --device v100-32g "${small[@]}"
says out.txt "for sm_70 one up to 9.10 with CUDA 12 does"

# a larger device of the same kind never plans a smaller batch
wants 0 "$FILLMARK" plan --device a100-40g,a100-80g --json "${small[@]}"
batches=$(sed -n 's/.*"planned_batch":[[:space:]]*\([0-9]*\).*/\1/p' out.txt)
[ "$(echo "$batches" | wc -l)" -eq 2 ] && [ "$(echo "$batches" | head -1)" -lt "$(echo "$batches" | tail -1)" ] ||
    fail "planned batches: $batches"
