#!/usr/bin/env bash
# The rules of checks.sh hold for this source tree, and for the command where it is built.
set -euo pipefail

root=${FM_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
. "$root/tests/structure/checks.sh"

faults=$(
    for check in check_includes check_banned check_headers check_lengths; do "$check" "$root"; done
    if [ -n "${FILLMARK:-}" ]; then check_links "$FILLMARK"; fi
)
if [ -n "$faults" ]; then
    printf '%s\n' "$faults" >&2
    echo "structure: $(wc -l <<<"$faults") breaches" >&2
    exit 1
fi
[ -n "$(tree_files "$root" c)" ] || { echo "structure: no source found below $root" >&2; exit 1; }
