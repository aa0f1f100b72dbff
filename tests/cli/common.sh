# For the tests of the command: a folder of its own that goes away, and checks that say what they wanted.
set -euo pipefail
: "${FILLMARK:?the test runner sets it}" "${FM_SOURCE_DIR:?}"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export FILLMARK_CACHE_DIR="$dir/cache"
cd "$dir"

fail() { echo "FAIL: $*" >&2; exit 1; }

# wants CODE command...: its exit code
wants() {
    local want=$1 code=0
    shift
    "$@" >out.txt 2>err.txt || code=$?
    [ "$code" -eq "$want" ] || { cat out.txt err.txt >&2; fail "exit code $code, not $want: $*"; }
}

# says FILE TEXT
says() { grep -qF -- "$2" "$1" || { cat "$1" >&2; fail "$1 does not say: $2"; }; }
