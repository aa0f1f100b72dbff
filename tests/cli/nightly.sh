# Nights: the first, one that is equal, one that lost a cell; what the history keeps.
. "$(dirname "$0")/common.sh"

cell=(--device cpu --workload denseunet3d --set base_channels=2 --set levels=2 --set classes=4 --set input=8x8x8
      --precision fp32 --memory 4MiB --time-budget none --launches 2)
night() { "$FM_SOURCE_DIR/ci/nightly.sh" --fillmark "$FILLMARK" --folder nights --max-slowdown 90% "$@"; }

wants 0 night -- "${cell[@]}"
says out.txt "is the first"
wants 0 night -- "${cell[@]}"
says out.txt "0 worse"
for file in history.sqlite history.txt last-run.txt; do [ -s "nights/$file" ] || fail "no $file"; done
good=$("$FILLMARK" history nights/history.sqlite --last-good)
for file in report.md junit.xml bigger.json smaller.json compare.txt; do [ -s "$good/$file" ] || fail "no $file in $good"; done

# fewer cells are no pass, and such a night is not what the next is held against
wants 30 night -- "${cell[@]}" --channels 1/2
says out.txt "missing in the new run"
[ "$("$FILLMARK" history nights/history.sqlite --last-good)" = "$good" ] || fail "a bad night counts as good"

wants 0 "$FILLMARK" history nights/history.sqlite
says out.txt "samples/s at batch"
wants 0 "$FILLMARK" history nights/history.sqlite --json
says out.txt '"schema":"fillmark.history/1"'

# a folder that is given by where one stands is found from elsewhere
wants 0 "$FILLMARK" history here.sqlite --add nights/"$(basename "$good")" --verdict first
[ -s "$(cd / && "$FILLMARK" history "$dir/here.sqlite" --last-good)/journal.jsonl" ] || fail "the folder is not found from elsewhere"

wants 2 "$FILLMARK" history nights/history.sqlite --add "$good"
wants 2 "$FILLMARK" history nights/history.sqlite --add "$good" --verdict worze
says err.txt "did you mean 'worse'?"
wants 2 "$FILLMARK" history nights/history.sqlite --verdict same
wants 20 "$FILLMARK" history nowhere.sqlite
wants 2 "$FM_SOURCE_DIR/ci/nightly.sh" --nonsense
