# Every command of the documents: none may name what the command does not know.
#   shown as an example     it is carried out. Of a long run everything is checked but the steps: its words, up to the folder
#                           that cannot be made, and its cells, each planned at batch 1. A short one, the rehearsal of
#                           docs/first-day.md, is carried out and stands in for the folders of all others.
#   with [OPTIONS] or NAME  a synopsis: its command and options exist
#   `in running text`       the same
#   in a man page           its EXAMPLES are carried out
# A block fenced as ```name.ending is the file of that name. tests/cli/advise.sh carries out docs/out-of-memory.md for real.
. "$(dirname "$0")/common.sh"
touch blocked
mkdir shim && ln -s "$FILLMARK" shim/fillmark
export FILLMARK_WORKER_DIR=${FILLMARK_WORKER_DIR:-$(dirname "$(readlink -f "$FILLMARK")")}
PATH="$dir/shim:$PATH"

# options WORD...: the words that are options, --x=y as --x
options() { printf '%s\n' "$@" | sed -n 's/^\(--[a-z-]\{1,\}\).*/\1/p'; }

# COMMAND... as a synopsis
exists() {
    local help=help.txt option
    case ${1:-} in
    COMMAND | --*) "$FILLMARK" --help >$help ;;
    *) "$FILLMARK" "$1" --help >$help 2>&1 || fail "$where: no such command: fillmark $*" ;;
    esac
    for option in $(options "$@"); do
        case $option in --help | --completion) continue ;; esac
        grep -qE -- "^ +$option( |$)" $help || grep -E -- "fillmark $option( |$)" $help >/dev/null || fail "$where: ${1:-} has no $option: fillmark $*"
    done
}

# without NAME... VALUE: the words but these options; prints them one a line
without() {
    local drop=" $1 " skip=
    shift
    for word; do
        if [ -n "$skip" ]; then skip=; continue; fi
        case $drop in *" $word "*) case $word in --resume | --poison | --shared) ;; *) skip=1 ;; esac; continue ;; esac
        printf '%s\n' "$word"
    done
}
value_of() { local name=$1; shift; while [ $# -gt 1 ]; do [ "$1" != "$name" ] || { echo "$2"; return; }; shift; done; }

# a run that is not carried out: its words, then its cells
check_run() {
    local words out
    out=$(value_of --out "$@")
    mapfile -t words < <(without "--out --device" "$@")
    wants 20 fillmark "${words[@]}" --device cpu --out blocked/run
    says err.txt "Not a directory"
    case " $* " in *" --resume "*) return ;; esac
    mapfile -t words < <(without "--out --device --resume --search --time-budget --deadline --launches --poison --shared" "${@:2}")
    wants 0 fillmark plan "${words[@]}" --device none --batch 1
    [ -z "$out" ] || [ -e "$out" ] || cp -r rehearsal "$out"
}

check_example() {
    local code=0
    case $1 in
    run) check_run "$@" ;;
    compare)                                # the runs are stand-ins: any verdict will do
        fillmark "$@" >out.txt 2>err.txt || code=$?
        case $code in 0 | 30 | 31 | 32) [ -s out.txt ] ;; *) false ;; esac || { cat err.txt >&2; fail "$where: $code: fillmark $*"; }
        ;;
    *)
        wants 0 fillmark "$@"
        [ -s out.txt ] || [ -s err.txt ] || fail "$where: printed nothing: fillmark $*"
        ;;
    esac
}

# ci/nightly.sh: its own options, and the run behind --
check_night() {
    local option words=() folder
    folder=$(value_of --folder "$@")
    folder=${folder:-nightly}
    while [ $# -gt 0 ] && [ "$1" != -- ]; do words+=("$1"); shift; done
    for option in $(options "${words[@]}"); do
        "$FM_SOURCE_DIR/ci/nightly.sh" --help | grep -E -- "^ +$option( |$)" >/dev/null || fail "$where: nightly.sh has no $option"
    done
    check_run run "${@:2}"
    [ -e "$folder" ] || { mkdir "$folder" && cp -r rehearsal "$folder/first" &&
        wants 0 fillmark history "$folder/history.sqlite" --add "$folder/first" --verdict first; }
}

# ci/gate-check.sh: its options; tests/cli/gate.sh carries it out
check_gate() {
    local option
    for option in $(options "$@"); do
        bash "$FM_SOURCE_DIR/ci/gate-check.sh" --help | grep -E -- "^ +$option( |$)" >/dev/null || fail "$where: gate-check.sh has no $option"
    done
}

# files_of DOCUMENT: its fenced blocks with a name, and the file that an export goes into
files_of() {
    awk '/^```[A-Za-z0-9_-]+\.[a-z]+$/ { name = substr($0, 4); printf "" >name; next } /^```/ { name = "" }
         name { print >>name }' "$1"
    awk '/\{\{[a-z.]+\}\}/ && /^    / { print substr($0, 5) }' "$1" >mine.toml.in
    [ -e config.yaml ] || printf 'trainer:\n  precision: 16-mixed\ndata:\n  batch_size: 1\n' >config.yaml
}

examples=0 synopses=0
document() {
    local doc=$1 line where text words
    files_of "$doc"
    while IFS=$'\t' read -r where line; do
        where="${doc#"$FM_SOURCE_DIR"/}:$where"
        text=$(sed 's/   .*//; s/ #.*//' <<<"$line")
        if grep -qE '\[|\.\.\.|(^|[ =])[A-Z]{2,}( |$|=)' <<<"$line"; then
            read -ra words <<<"$(tr '[]|' '   ' <<<"$line" | sed 's/   .*//')"
            exists "${words[@]:1}"
            synopses=$((synopses + 1))
            continue
        fi
        eval "words=($text)"
        case ${words[0]} in
        *nightly.sh) check_night "${words[@]:1}" ;;
        *gate-check.sh) check_gate "${words[@]:1}" ;;
        *) check_example "${words[@]:1}" ;;
        esac
        examples=$((examples + 1))
    done < <(awk '/^ +[0-9a-f]+  fillmark / { sub(/^ +[0-9a-f]+  /, "    ") }
                  /^ +fillmark [0-9]/ { next }
                  /^    +(build\/)?fillmark / || /^    +ci\/(nightly|gate-check)\.sh( |$)/ { sub(/^ +/, ""); print FNR "\t" $0 }' "$doc")
    while IFS=: read -r where text; do
        where="${doc#"$FM_SOURCE_DIR"/}:$where"
        text=${text//\`/}
        read -ra words <<<"${text//.../}"
        exists "${words[@]:1}"
        synopses=$((synopses + 1))
    done < <(grep -noE '`(build/)?fillmark [a-zA-Z-][^`]*`' "$doc" || true)
}

# the rehearsal, for real
line=$(sed -n 's/^    fillmark \(run .*--out rehearsal\)$/\1/p' "$FM_SOURCE_DIR/docs/first-day.md")
[ -n "$line" ] || fail "docs/first-day.md has no rehearsal"
eval "words=($line)"
wants 0 fillmark "${words[@]}"
says out.txt "max batch"

for doc in "$FM_SOURCE_DIR"/README.md "$FM_SOURCE_DIR"/CONTRIBUTING.md "$FM_SOURCE_DIR"/docs/*.md "$FM_SOURCE_DIR"/tests/reference/README.md; do
    document "$doc"
done

# the man pages' examples, and each command's page
"$FILLMARK" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]\{1,\}\) .*/\1/p' | sort -u | sed '/^help$/d' >words.txt
[ -s words.txt ] || fail "no commands in --help"
while read -r word; do
    "$FILLMARK" --man "$word" >"fillmark-$word.1"
    grep -x "more: man fillmark-$word; exit codes: fillmark --help" <("$FILLMARK" "$word" --help) >/dev/null || fail "$word --help does not name its page"
    [ -s "$FM_BINARY_DIR/fillmark-$word.1" ] || [ ! -e "$FM_BINARY_DIR/fillmark.1" ] || fail "fillmark-$word.1 is not built"
done <words.txt
"$FILLMARK" --man >fillmark.1
for page in fillmark.1 fillmark-run.1 fillmark-[!r]*.1 fillmark-report.1; do
    before=$examples
    sed -n '/^\.SH EXAMPLES/,$s/^\\fB\(fillmark .*\)\\fR$/    \1/p' "$page" | sed 's/\\-/-/g; s/\\(ti/~/g' >"$page.md"
    document "$PWD/$page.md"
    [ "$examples" -ge $((before + 2)) ] || fail "$page: fewer than two examples"
done
echo "$examples examples, $synopses synopses"
[ "$examples" -ge 85 ] && [ "$synopses" -ge 15 ] || fail "fewer commands than the documents have"
cmp nightly.yaml "$FM_SOURCE_DIR/ci/templates/nightly.yaml" || fail "docs/nightly.md shows another nightly.yaml than ci/templates"
