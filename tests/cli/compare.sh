# Two runs held against each other, and what the exit code says.
. "$(dirname "$0")/common.sh"

tiny=(--device cpu --workload denseunet3d --set base_channels=2 --set levels=2 --set classes=4 --set input=8x8x8
      --precision fp32 --time-budget none)

wants 0 "$FILLMARK" run "${tiny[@]}" --memory 4MiB --launches 2 --out base
# a run held against itself: equal to the last bit
wants 0 "$FILLMARK" compare base base
says out.txt "0 worse, 0 undecided, 0 better, 0 not comparable"
wants 0 "$FILLMARK" compare base base --json
says out.txt '"schema":"fillmark.comparison/1"'

# one launch is too few to tell
wants 0 "$FILLMARK" run "${tiny[@]}" --memory 4MiB --launches 1 --out once
wants 31 "$FILLMARK" compare base once --max-memory-growth 0%
says out.txt "launches: two of each are needed"

# a cell that is not there any more is a regression, whatever the rest says
wants 0 "$FILLMARK" run "${tiny[@]}" --memory 4MiB --launches 1 --channels 1/2 --out smaller
wants 30 "$FILLMARK" compare base smaller
says out.txt "missing in the new run"

# another limit of memory: nothing can be compared, which is no pass either
wants 0 "$FILLMARK" run "${tiny[@]}" --memory 5MiB --launches 1 --out other
wants 32 "$FILLMARK" compare base other
says out.txt "changed: cpu capacity_bytes: 4194304, now 5242880"

wants 20 "$FILLMARK" compare base nowhere
