# A run's best configuration into files of others: what is printed, what is changed, what is left alone.
. "$(dirname "$0")/common.sh"

wants 0 "$FILLMARK" run --device cpu --workload denseunet3d --set base_channels=2 --set levels=2 --set classes=4 --set input=8x8x8 \
    --precision fp32 --memory 4MiB --launches 1 --val-batch half --out run --time-budget none
unwrap() { tr -d '\n#' <"$1" | tr -s ' '; }      # comments are wrapped
export_() { "$FILLMARK" export run "$@"; }

# every format that fp32 has says something, and the same batch
wants 0 export_ --format json
batch=$(sed -n 's/^  "batch": \([0-9]*\),$/\1/p' out.txt)
[ "${batch:-0}" -ge 1 ] || fail "no batch"
for format in lightning lightning-python monai argparse dataclass mmcv mmengine hydra hf accelerate deepspeed nnunet env; do
    wants 0 export_ --workload denseunet3d --format $format
    [ -s out.txt ] || fail "$format: nothing"
    cat out.txt err.txt | grep -E "(^|[^0-9])$batch([^0-9]|$)" >/dev/null || fail "$format does not say batch $batch"
done

# into a file: a dry run shows the difference and changes nothing; then only those lines change
printf '# mine\ntrainer:\n  precision: 16-mixed  # fast\n  max_epochs: 3\ndata:\n  batch_size: 1' >config.yaml
cp config.yaml before.yaml
chmod 640 config.yaml
wants 0 export_ --format lightning --into config.yaml --dry-run
cmp -s config.yaml before.yaml || fail "--dry-run changed the file"
says out.txt "--- config.yaml"
says out.txt "+  precision: \"32-true\"  # fast"
cp out.txt wanted.diff
wants 0 export_ --format lightning --into config.yaml
says err.txt "config.yaml is changed"
diff -u before.yaml config.yaml | tail -n +3 >real.diff || true
tail -n +3 wanted.diff | cmp -s - real.diff || fail "the difference is another than the one that was shown"
[ "$(stat -c %a config.yaml)" = 640 ] || fail "the file's mode is another"
printf '# mine\ntrainer:\n  precision: "32-true"  # fast\n  max_epochs: 3\n  accumulate_grad_batches: 1\ndata:\n  batch_size: %s' "$batch" | cmp -s - config.yaml ||
    fail "config.yaml is not as it should be"
wants 0 export_ --format lightning --into config.yaml
says err.txt "says all of this already"
[ -z "$(find . -name '.fillmark*' -o -name '*.fillmark.*')" ] || fail "something was left lying about"

# what cannot be, with its place; nothing is written
printf '{\n  "train_batch_size": "auto",\n  "fp16": [1]\n}\n' >ds.json
cp ds.json before.json
wants 2 export_ --format deepspeed --into ds.json
says err.txt "ds.json:3:11: fp16: is a list, not a mapping"
cmp -s ds.json before.json || fail "a refused edit changed the file"
wants 2 export_ --format dataclass --into ds.json
says err.txt "--into"
wants 20 export_ --format hf --into nothing.json
wants 2 export_ --format hf --dry-run
wants 2 export_ --format lightnin
says err.txt "did you mean 'lightning'?"
wants 2 export_
says err.txt "--format: which?"
wants 2 export_ --workload segformer --format hf
wants 20 "$FILLMARK" export nowhere --format hf
wants 2 export_ --format hf --only ffffffff

# a largest batch that is the limit that was given: the next one never ran, and nothing says that it did
wants 0 "$FILLMARK" run --device cpu --workload denseunet3d --set base_channels=2 --set levels=2 --set classes=4 --set input=8x8x8 \
    --precision fp32 --memory 4MiB --launches 1 --max-batch 2 --out limited --time-budget none
says out.txt "≥2"
for format in lightning mmengine env; do
    wants 0 "$FILLMARK" export limited --format $format --largest
    unwrap out.txt >unwrapped.txt
    if grep -F "largest 2, certified" unwrapped.txt; then fail "$format: a batch that never ran is said to have failed"; fi
    says unwrapped.txt "largest 2, the limit that was given: larger ones were not tried"
done
says out.txt "FILLMARK_CERTIFIED=false"
says out.txt "FILLMARK_AT_LIMIT=true"
wants 0 "$FILLMARK" advise limited --workload denseunet3d
says out.txt "2 (it ran; it is the limit that was given, larger ones were not tried)"

# a file of one's own
printf 'B={{batch}} IN={{input}} P={{ precision }}\n' >mine.txt
wants 0 export_ --format template --template mine.txt
says out.txt "B=$batch IN=8x8x8 P=fp32"
printf 'x\n {{bach}}\n' >mine.txt
wants 2 export_ --format template --template mine.txt
says err.txt "mine.txt:2:2: unknown name 'bach'; did you mean 'batch'?"
printf '{{learning_rate}}\n' >mine.txt
wants 2 export_ --format template --template mine.txt
says err.txt "the run does not know 'learning_rate'"
wants 0 export_ --format template --template mine.txt --base-lr 1e-3 --base-batch "$batch" --lr-rule linear
says out.txt "0.001"

# from plans, marked as such
wants 0 "$FILLMARK" export --workload denseunet3d --device none --memory 4GiB --set input=32x32x32 --precision fp16 --format mmcv
says out.txt "planned, nothing was run"
says out.txt "fp16 = dict(loss_scale=\"dynamic\")"
says out.txt "planned with inputs of 32x32x32"
if grep -F measured out.txt; then fail "a plan is called measured"; fi

# a plan without workspaces says so wherever its batch is taken from: advise, comments, standard error
light=(--workload denseunet3d --set input=32x32x32 --device v100-16g)
lacks="workspace 0 for convolutions, so batches come out too large"
mkdir none
export FILLMARK_WORKER_DIR="$dir/none"      # without the spec worker, which asks cuDNN
wants 0 "$FILLMARK" advise "${light[@]}"
says out.txt "$lacks"
for format in lightning mmengine env; do
    wants 0 "$FILLMARK" export "${light[@]}" --format $format
    unwrap out.txt >unwrapped.txt
    says unwrapped.txt "$lacks"
done
printf '{{batch}}\n' >mine.txt
for format in hf hydra "template --template mine.txt"; do
    # shellcheck disable=SC2086
    wants 0 "$FILLMARK" export "${light[@]}" --precision fp16 --format $format
    says err.txt "$lacks"
done
