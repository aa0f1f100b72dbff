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
printf 'workload: segformer\ncheckpoint: block\n' >bad.yaml
wants 2 "$FILLMARK" run bad.yaml
says err.txt "bad.yaml:2:13: checkpoint"
printf 'workload: segformer\nworkload: segformer\n' >twice.yaml
wants 2 "$FILLMARK" run twice.yaml
says err.txt "twice.yaml:2:1"
