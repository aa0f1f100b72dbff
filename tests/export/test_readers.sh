#!/usr/bin/env bash
# Exports against the programs that read them (readers.py), in a virtual environment of the tests'. Without a network that
# environment cannot be made: then what is installed is used, and what is not checked is said (exit code 77: skipped).
set -euo pipefail
: "${FILLMARK:?the test runner sets it}" "${FM_SOURCE_DIR:?}" "${FM_BINARY_DIR:?}"
here=$FM_SOURCE_DIR/tests/export
venv=$FM_BINARY_DIR/readers-venv

if ! command -v python3 >/dev/null; then
    echo "skipped: there is no python3"
    exit 77
fi
make_venv() {
    rm -rf "$venv"
    python3 -m venv "$venv" || return 1
    timeout 80 "$venv/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 15 -r "$here/requirements.txt" || return 1
    cp "$here/requirements.txt" "$venv/made-from.txt"
}
python=$venv/bin/python
if ! cmp -s "$here/requirements.txt" "$venv/made-from.txt"; then
    if ! make_venv >"$FM_BINARY_DIR/readers-venv.log" 2>&1; then
        echo "no virtual environment with $(grep -v '^#' "$here/requirements.txt" | tr '\n' ' ')(no network? see $FM_BINARY_DIR/readers-venv.log)"
        python=python3
    fi
fi
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/readers.py" "$FILLMARK"
