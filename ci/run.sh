#!/usr/bin/env bash
# From a fresh machine to the ranked table: sets up, builds, and runs the command.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: ci/run.sh [ARGUMENT...]
       ci/run.sh --help

Sets up (ci/setup.sh), builds fillmark in build/ and runs `build/fillmark run ARGUMENT...` in the working
folder. Without arguments it runs the defaults. `build/fillmark run --help` lists the arguments.
USAGE
}

case "${1:-}" in
-h | --help) usage; exit 0 ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/ci/setup.sh" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "run: building in $root/build" >&2
# only what the command needs: the tests are ci/test.sh's
if ! { cmake -S "$root" -B "$root/build" -DCMAKE_BUILD_TYPE=Release &&
    cmake --build "$root/build" -j "$(nproc)" --target programs; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "run: the build failed" >&2
    exit 1
fi
rm -f "$log"
exec "$root/build/fillmark" run "$@"
