#!/usr/bin/env bash
# Installs what fillmark needs to be built and tested and is not there yet.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: ci/setup.sh [--help]

Looks for the compiler, CMake and the libraries that fillmark needs, and installs the missing ones with
apt (Debian 12 and 13, Ubuntu 22.04 and 24.04), as root or through sudo. It says what it will install
before it does. When everything is there it does nothing.
USAGE
}

case "${1:-}" in
'') ;;
-h | --help) usage; exit 0 ;;
*) echo "setup: unknown argument '$1'" >&2; usage >&2; exit 2 ;;
esac

cmake_is_new_enough() {
    local version
    version=$(cmake --version 2>/dev/null | sed -n '1s/^cmake version \([0-9.]*\).*/\1/p')
    [ -n "$version" ] && [ "$(printf '3.22\n%s\n' "$version" | sort -V | head -n 1)" = 3.22 ]
}

# a header counts as present in the usual prefixes, or where CPATH or CMAKE_PREFIX_PATH point
have_header() {
    local folder prefixes=${CMAKE_PREFIX_PATH:-} folders="/usr/include /usr/local/include ${CPATH:-}"
    for folder in ${prefixes//:/ }; do folders+=" $folder/include"; done
    for folder in ${folders//:/ }; do
        [ -e "$folder/$1" ] && return 0
    done
    return 1
}

have_compiler() {
    { command -v cc || command -v gcc || command -v clang; } >/dev/null 2>&1 && have_header stdio.h
}

# clang's OpenMP is a package of its own
have_openmp() {
    local compiler=${CC:-cc}
    command -v "$compiler" || compiler=gcc
    command -v "$compiler" || compiler=clang
    "$compiler" --version | grep -q clang || return 0
    echo 'int main(void) { return 0; }' | "$compiler" -fopenmp -x c -o /dev/null -
}

missing=()
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}
need build-essential have_compiler
if [ "${missing[*]:-}" != build-essential ]; then need build-essential command -v make; fi
need libomp-dev have_openmp
need cmake cmake_is_new_enough
need libdnnl-dev have_header oneapi/dnnl/dnnl.h
need libcjson-dev have_header cjson/cJSON.h
need libyaml-dev have_header yaml.h
need libsqlite3-dev have_header sqlite3.h
need libcmocka-dev have_header cmocka.h
need node-d3 test -e /usr/share/nodejs/d3/dist/d3.min.js
# the tests of exports read them with Python
need python3-yaml python3 -c 'import yaml'
need python3-venv python3 -c 'import ensurepip, venv'

if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

fail() {
    echo "setup: $*" >&2
    exit 1
}

system=unknown
if [ -r /etc/os-release ]; then
    system=$(. /etc/os-release && echo "${ID:-unknown} ${VERSION_ID:-}")
fi
packages="${missing[*]}"
case "$system" in
'debian 12' | 'debian 13' | 'ubuntu 22.04' | 'ubuntu 24.04') ;;
*)
    fail "missing here (names as in Debian): $packages
This script installs on Debian 12 and 13 and Ubuntu 22.04 and 24.04 only; this is '$system'.
Install them by hand (CMake >= 3.22, a C11 compiler, make, oneDNN, cJSON, libyaml, SQLite, cmocka) and call it again."
    ;;
esac
command -v apt-get >/dev/null || fail "missing: $packages; no apt-get on this $system to install them"

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
        fail "missing: $packages; not root and no sudo. As root: apt-get install --no-install-recommends $packages"
    as_root=(sudo)
fi
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"
}

echo "setup: $system: will install with apt: $packages"
apt update || fail "apt-get update failed (no network?); still missing: $packages"
apt install -y --no-install-recommends "${missing[@]}" ||
    fail "apt could not install: $packages (on Ubuntu, the 'universe' component must be enabled)"

# what apt brought must satisfy the checks above too: say so now, rather than in the middle of a build
cmake_is_new_enough || fail "CMake is still older than 3.22: $(command -v cmake) hides the distribution's"
for header in oneapi/dnnl/dnnl.h cjson/cJSON.h yaml.h cmocka.h; do
    have_header "$header" || fail "$header is still not found after the installation"
done
echo "setup: done"
