#!/usr/bin/env bash
# Installs what fillmark needs to be built and tested and is not there yet.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: ci/setup.sh [--browser] [--help]

Looks for the compiler, CMake and the libraries that fillmark needs, and installs the missing ones with
apt (Debian 12 and 13, Ubuntu 22.04 and 24.04), as root or through sudo. Where oneDNN is older than 2.6,
as Ubuntu 22.04's is, it unpacks a newer one of PyPI (ci/onednn.txt: fixed version, checked hashes) into
.deps/onednn beside the source, where CMake finds it. It says what it will install before it does. When
everything is there it does nothing.

  --browser   on Debian also chromium, in which a test looks at report.html; Ubuntu's is a snap and is left out
USAGE
}

browser=no
case "${1:-}" in
'') ;;
--browser) browser=yes ;;
-h | --help) usage; exit 0 ;;
*) echo "setup: unknown argument '$1'" >&2; usage >&2; exit 2 ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
own_onednn=$root/.deps/onednn

fail() {
    echo "setup: $*" >&2
    exit 1
}

# is_at_least OLDEST VERSION
is_at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

cmake_is_new_enough() {
    local version
    version=$(cmake --version 2>/dev/null | sed -n '1s/^cmake version \([0-9.]*\).*/\1/p')
    [ -n "$version" ] && is_at_least 3.22 "$version"
}

# a header counts as present where CMAKE_PREFIX_PATH points, in the usual prefixes, in this order as in CMake, or
# where CPATH points; prints the first
have_header() {
    local folder prefixes=${CMAKE_PREFIX_PATH:-} folders=
    for folder in ${prefixes//:/ }; do folders+=" $folder/include"; done
    folders+=" /usr/local/include /usr/include ${CPATH:-}"
    for folder in ${folders//:/ }; do
        [ -e "$folder/$1" ] && echo "$folder/$1" && return 0
    done
    return 1
}

# onednn_version HEADER: "2.6"
onednn_version() {
    sed -n 's/^#define DNNL_VERSION_M[AI][JN]OR *\([0-9]*\).*/\1/p' "$1" | paste -sd .
}

# the first that CMake comes across, or else the one of this script, is as new as cmake/fillmark.cmake wants it
onednn_oldest=2.6
have_onednn() {
    local header
    for header in "$(have_header oneapi/dnnl/dnnl_version.h)" "$own_onednn/include/oneapi/dnnl/dnnl_version.h"; do
        [ -e "$header" ] && is_at_least $onednn_oldest "$(onednn_version "$header")" && return 0
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
need libcjson-dev have_header cjson/cJSON.h
need libyaml-dev have_header yaml.h
need libsqlite3-dev have_header sqlite3.h
need libcmocka-dev have_header cmocka.h
need node-d3 test -e /usr/share/nodejs/d3/dist/d3.min.js
# the tests of exports read them with Python
need python3-yaml python3 -c 'import yaml'
need python3-venv python3 -c 'import ensurepip, venv'
if [ $browser = yes ] && grep -qx 'ID=debian' /etc/os-release 2>/dev/null; then need chromium command -v chromium; fi

system=unknown
if [ -r /etc/os-release ]; then
    system=$(. /etc/os-release && echo "${ID:-unknown} ${VERSION_ID:-}")
fi

# oneDNN: the distribution's, but where that is too old; no other is made for other processors
fetch_onednn=
if ! have_onednn; then
    found=$(have_header oneapi/dnnl/dnnl_version.h || true)
    if [ -z "$found" ] && [ "$system" != 'ubuntu 22.04' ]; then
        missing+=(libdnnl-dev)
    elif [ "$(uname -m)" = x86_64 ]; then
        fetch_onednn=yes
    else
        echo "setup: oneDNN is older than $onednn_oldest here, and PyPI has none for $(uname -m): the cpu worker is left out of the build" >&2
        [ -n "$found" ] || missing+=(libdnnl-dev)
    fi
fi

# into .deps/onednn, which is there in whole or not at all; the wheels' copies of the library become one
install_onednn() {
    local work=$own_onednn.partial pip=(python3 -m pip) wheel library
    echo "setup: oneDNN of $system is older than $onednn_oldest: will install into $own_onednn from PyPI:" \
        "$(sed -n 's/^\([a-z-]*==[^ ]*\).*/\1/p' "$root/ci/onednn.txt" | paste -sd ' ')"
    rm -rf "$work" && mkdir -p "$work/wheels" || fail "cannot write to $root/.deps"
    if ! "${pip[@]}" --version >/dev/null 2>&1; then
        python3 -m venv "$work/venv" || fail "python3 -m venv failed (package python3-venv)"
        pip=("$work/venv/bin/pip")
    fi
    "${pip[@]}" download -q --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        -r "$root/ci/onednn.txt" -d "$work/wheels" ||
        fail "pip could not download oneDNN (no network?). Or install oneDNN >= $onednn_oldest by hand, and set CMAKE_PREFIX_PATH to its prefix"
    for wheel in "$work"/wheels/*.whl; do
        python3 -m zipfile -e "$wheel" "$work/unpacked" || fail "cannot unpack $wheel"
    done
    mkdir "$work/prefix"
    cp -r "$work"/unpacked/onednn_*.data/data/. "$work/prefix/"
    library=$(basename "$work"/prefix/lib/libdnnl.so.*.*)
    ln -sf "$library" "$work/prefix/lib/${library%.*}"
    ln -sf "$library" "$work/prefix/lib/libdnnl.so"
    rm -rf "$own_onednn"
    mv "$work/prefix" "$own_onednn"
    rm -rf "$work"
    have_onednn || fail "$own_onednn holds no oneDNN of $onednn_oldest or later"
    echo "setup: oneDNN $(onednn_version "$own_onednn/include/oneapi/dnnl/dnnl_version.h") is in $own_onednn"
}

if [ ${#missing[@]} -eq 0 ]; then
    [ -z "$fetch_onednn" ] || install_onednn
    exit 0
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
for header in cjson/cJSON.h yaml.h sqlite3.h cmocka.h; do
    have_header "$header" >/dev/null || fail "$header is still not found after the installation"
done
if [ -n "$fetch_onednn" ]; then
    install_onednn
else
    have_header oneapi/dnnl/dnnl.h >/dev/null || fail "oneapi/dnnl/dnnl.h is still not found after the installation"
fi
echo "setup: done"
