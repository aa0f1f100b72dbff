# Completions: what bash really offers; that zsh and fish take theirs, where they are installed.
. "$(dirname "$0")/common.sh"

"$FILLMARK" --completion bash >fillmark.bash
bash -n fillmark.bash || fail "bash does not take its completion"
offers() {
    (
        set +u
        . ./fillmark.bash
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _fillmark
        printf '%s\n' "${COMPREPLY[@]}"
    )
}
offers fillmark ru | grep -x run >/dev/null || fail "no command is offered"
offers fillmark run --prec | grep -x -- --precision >/dev/null || fail "no option is offered"
[ -z "$(offers fillmark report --prec)" ] || fail "an option is offered that the command does not take"
offers fillmark run --precision b | grep -x bf16 >/dev/null || fail "no value is offered"
offers fillmark run --workload s | grep -x segformer >/dev/null || fail "no workload is offered"
offers fillmark show workload | grep -x workload >/dev/null || fail "no second word is offered"
touch some.yaml
offers fillmark run som | grep -x some.yaml >/dev/null || fail "no file is offered"
for shell in zsh fish; do
    "$FILLMARK" --completion "$shell" >"fillmark.$shell"
    [ -s "fillmark.$shell" ] || fail "no completion for $shell"
    if command -v "$shell" >/dev/null; then "$shell" -n "fillmark.$shell" || fail "$shell does not take its completion"; fi
done
wants 2 "$FILLMARK" --completion tcsh
wants 2 "$FILLMARK" --completion
says err.txt "bash, zsh, fish"
