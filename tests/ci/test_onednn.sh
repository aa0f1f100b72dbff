#!/usr/bin/env bash
# Which oneDNN the build takes (fm_find_onednn), and what ci/setup.sh does about one that is too old, with wheels made here:
# without a network, and whatever this system has.
set -euo pipefail
: "${FM_SOURCE_DIR:?the test runner sets it}"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "FAIL: $*" >&2; exit 1; }
says() { grep -F -- "$2" "$1" >/dev/null || { cat "$1" >&2; fail "$1 does not say: $2"; }; }

# fake PREFIX MAJOR MINOR: what of oneDNN is looked at
fake() {
    mkdir -p "$1/include/oneapi/dnnl" "$1/lib"
    printf '#define DNNL_VERSION_MAJOR %s\n#define DNNL_VERSION_MINOR %s\n#define DNNL_VERSION_PATCH 9\n' "$2" "$3" \
        >"$1/include/oneapi/dnnl/dnnl_version.h"
    touch "$1/include/oneapi/dnnl/dnnl.h" "$1/lib/libdnnl.so.$2.$3"
    ln -sf "libdnnl.so.$2.$3" "$1/lib/libdnnl.so"
}

# a project with a source folder of its own
mkdir project
cat >project/CMakeLists.txt <<TXT
cmake_minimum_required(VERSION 3.22)
project(chosen LANGUAGES NONE)
include($FM_SOURCE_DIR/cmake/fillmark.cmake)
set(CMAKE_FIND_USE_CMAKE_SYSTEM_PATH OFF)      # nothing of this system is looked at
set(CMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH OFF)
fm_find_onednn()
set(libraries none)
if(TARGET fm::dnnl)
    get_target_property(libraries fm_dnnl INTERFACE_LINK_LIBRARIES)
endif()
message(STATUS "chosen \${libraries} own '\${FILLMARK_OWN_ONEDNN}'")
TXT
# choose PREFIX: what a configuration takes, anew or after another in the same folder; of a message, lines are joined
choose() {
    local code=0
    CMAKE_PREFIX_PATH=$1 cmake -S project -B project/build >lines.txt 2>&1 || code=$?
    tr -s '\n ' ' ' <lines.txt >configure.txt
    return $code
}

! choose "$dir/nothing" || fail "no oneDNN at all is no error"
says configure.txt "Run ci/setup.sh"
fake old 2 2
choose "$dir/old"
says configure.txt "older than 2.6"
says configure.txt "chosen none own ''"
# in the same build folder, once there is one beside the source
fake project/.deps/onednn 3 2
choose "$dir/old"
says configure.txt "chosen $dir/project/.deps/onednn/lib/libdnnl.so own '$dir/project/.deps/onednn'"
! grep -F "older than" configure.txt || fail "a warning of what is not used"
rm -r project/build
choose "$dir/nothing"
says configure.txt "chosen $dir/project/.deps/onednn/lib/libdnnl.so"
# the system's, or the one asked for, is taken where it will do
fake new 2 6
rm -r project/build
choose "$dir/new"
says configure.txt "chosen $dir/new/lib/libdnnl.so own ''"
# one beside the source that is no better is no way out
fake project/.deps/onednn 2 5
rm -r project/build
choose "$dir/old"
says configure.txt "chosen none own ''"

# wheels with the contents of the real ones: headers in one, in the other the library under three names
if [ "$(uname -m)" != x86_64 ] || { ! python3 -m pip --version && ! python3 -c 'import ensurepip, venv'; } >/dev/null 2>&1; then
    echo "not run here: ci/setup.sh (needs x86-64 and Python with pip or venv)"
    exit 0
fi
mkdir -p tree/ci wheels
cp "$FM_SOURCE_DIR/ci/setup.sh" tree/ci/
fake whole 3 2
python3 - <<'PY'
import hashlib, zipfile
pins = open("tree/ci/onednn.txt", "w")
version = open("whole/include/oneapi/dnnl/dnnl_version.h").read()
contents = {
    "onednn-devel-cpu-gomp": {"include/oneapi/dnnl/dnnl.h": "", "include/oneapi/dnnl/dnnl_version.h": version},
    "onednn-cpu-gomp": {"lib/libdnnl.so" + end: "library" for end in ("", ".3", ".3.2")} | {"share/doc/onednn/LICENSE": "Apache"},
}
for name, files in contents.items():
    stem = name.replace("-", "_") + "-2023.2.0"
    path = f"wheels/{stem}-py2.py3-none-manylinux1_x86_64.whl"
    info = {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 2023.2.0\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py2-none-manylinux1_x86_64\nTag: py3-none-manylinux1_x86_64\n",
            "RECORD": ""}
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(f"{stem}.data/data/{file}", text)
        for file, text in info.items():
            wheel.writestr(f"{stem}.dist-info/{file}", text)
    pins.write(f"{name}==2023.2.0 --hash=sha256:{hashlib.sha256(open(path, 'rb').read()).hexdigest()}\n")
PY
export PIP_NO_INDEX=1 PIP_FIND_LINKS=$dir/wheels CMAKE_PREFIX_PATH=$dir/old
own=tree/.deps/onednn
# a system that lacks more than oneDNN is not changed by a test
mkdir bin
printf '#!/bin/sh\necho "not in a test: $0 $*" >&2\nexit 1\n' | tee bin/apt-get >bin/sudo
chmod +x bin/*
PATH=$dir/bin:$PATH
setup() { tree/ci/setup.sh >setup.txt 2>&1; }

# a wheel that is not the one that was pinned is refused, and leaves nothing that could be taken for a oneDNN
sed -i.kept 's/sha256:..../sha256:0000/' tree/ci/onednn.txt
! setup || fail "a wheel of another hash was taken"
if ! grep -F onednn-cpu-gomp setup.txt >/dev/null; then
    cat setup.txt
    echo "not run here: ci/setup.sh (something else is missing too)"
    exit 0
fi
says setup.txt "could not download oneDNN"
[ ! -e "$own" ] || fail "a refused oneDNN is there"
mv tree/ci/onednn.txt.kept tree/ci/onednn.txt

setup || { cat setup.txt >&2; fail "ci/setup.sh failed"; }
says setup.txt "will install into $dir/$own from PyPI: onednn-devel-cpu-gomp==2023.2.0 onednn-cpu-gomp==2023.2.0"
[ "$(cat "$own/lib/libdnnl.so")" = library ] || fail "no library"
[ "$(readlink "$own/lib/libdnnl.so.3")" = libdnnl.so.3.2 ] || fail "the library is there more than once"
[ -e "$own/share/doc/onednn/LICENSE" ] || fail "no license"
[ "$(ls tree/.deps)" = onednn ] || fail "left over: $(ls tree/.deps)"
rm -r project/.deps project/build
cp -r tree/.deps project/
choose "$dir/old"
says configure.txt "chosen $dir/project/.deps/onednn/lib/libdnnl.so"

# once more: nothing is done, and where the system's is new enough pip is not asked either
PIP_FIND_LINKS=/nowhere setup || fail "the second time is not idle"
[ ! -s setup.txt ] || { cat setup.txt >&2; fail "the second time says something"; }
rm -r tree/.deps
PIP_FIND_LINKS=/nowhere CMAKE_PREFIX_PATH=$dir/new setup || fail "a new oneDNN is not enough"
[ ! -e tree/.deps ] || fail "a oneDNN was fetched beside a new one"
echo "the choice of CMake, and ci/setup.sh"
