#!/usr/bin/env bash
# Collects the libraries that fillmark is built with into one folder, for a machine that has neither them nor a network.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: ci/gpu-pack.sh [FOLDER]

Copies headers and libraries of cJSON, libyaml, SQLite, cmocka and oneDNN, with what those need beyond the C and C++
runtimes, from this Debian or Ubuntu into FOLDER (default: carried/), with their versions and licenses. Take the
repository and that folder to a machine of the same architecture whose C library is no older. There
ci/gpu-check.sh finds carried/ by itself; any other build with -DCMAKE_PREFIX_PATH=FOLDER.
USAGE
}

case "${1:-}" in
-h | --help) usage; exit 0 ;;
-*) echo "gpu-pack: unknown argument '$1'" >&2; usage >&2; exit 2 ;;
esac
[ $# -le 1 ] || { usage >&2; exit 2; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$root/carried}
fail() { echo "gpu-pack: $*" >&2; exit 1; }
command -v dpkg-query >/dev/null || fail "no dpkg-query: this collects packages of Debian or Ubuntu"

packages="libcjson-dev libyaml-dev libsqlite3-dev libcmocka-dev"
# where ci/setup.sh has put a oneDNN beside the source, the distribution's is too old
own_onednn=$root/.deps/onednn
[ -d "$own_onednn" ] || packages+=" libdnnl-dev"
for package in $packages; do
    dpkg-query -s "$package" >/dev/null 2>&1 || fail "$package is not installed: run ci/setup.sh first"
done

# only what an earlier call made is replaced
[ ! -e "$folder" ] || [ -f "$folder/versions.txt" ] || fail "$folder is there, and not from this script: name another"
rm -rf "$folder"
mkdir -p "$folder/include" "$folder/lib" "$folder/licenses"

# a shared library by its own name, and what it needs that no compiler brings
carry_shared() {
    local file=$1 needed
    cp -L "$file" "$folder/lib/$(objdump -p "$file" | awk '$1 == "SONAME" { print $2 }')"
    while read -r needed; do
        case "$(basename "$needed")" in
        libc.so* | libm.so* | libdl.so* | libpthread.so* | librt.so* | libstdc++.so* | libgcc_s.so* | libgomp.so* | ld-linux*) ;;
        *) [ -e "$folder/lib/$(basename "$needed")" ] || cp -L "$needed" "$folder/lib/" ;;
        esac
    done < <(ldd "$file" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }')
}

for package in $packages; do
    printf '%s %s\n' "$package" "$(dpkg-query -W -f '${Version} ${Architecture}' "$package")" >>"$folder/versions.txt"
    cp -L "/usr/share/doc/$package/copyright" "$folder/licenses/$package"
    while read -r file; do
        [ -f "$file" ] || continue
        case "$file" in
        # the headers' own folder may be that of the architecture, which no prefix has
        /usr/include/*.h)
            name=${file#/usr/include/} name=${name#"$(uname -m)"-linux-gnu/}
            mkdir -p "$folder/include/$(dirname "$name")"
            cp -L "$file" "$folder/include/$name"
            ;;
        */libdnnl.a | */libcjson_utils.*) ;;
        */lib*.a) cp -L "$file" "$folder/lib/" ;;
        */lib*.so)
            # one of the two is enough, and the archive needs nothing where it runs
            [ -f "${file%.so}.a" ] && [ "$(basename "$file")" != libdnnl.so ] && continue
            carry_shared "$file"
            own=$(objdump -p "$file" | awk '$1 == "SONAME" { print $2 }')
            ln -sf "$own" "$folder/lib/$(basename "$file")"
            ;;
        esac
    done < <(dpkg-query -L "$package")
done

if [ -d "$own_onednn" ]; then
    cp -rL "$own_onednn/include/." "$folder/include/"
    carry_shared "$own_onednn/lib/libdnnl.so"
    ln -s "$(objdump -p "$own_onednn/lib/libdnnl.so" | awk '$1 == "SONAME" { print $2 }')" "$folder/lib/libdnnl.so"
    cp -r "$own_onednn/share/doc/onednn" "$folder/licenses/"
    sed -n 's/^\([a-z-]*\)==\([^ ]*\).*/\1 \2/p' "$root/ci/onednn.txt" >>"$folder/versions.txt"
fi

for name in cjson/cJSON.h yaml.h sqlite3.h cmocka.h oneapi/dnnl/dnnl.h; do
    [ -f "$folder/include/$name" ] || fail "$name is in none of: $packages"
done
for name in cjson yaml sqlite3 cmocka dnnl; do
    [ -e "$folder/lib/lib$name.so" ] || [ -e "$folder/lib/lib$name.a" ] || fail "lib$name is in none of: $packages"
done
{
    printf 'system %s\n' "$(. /etc/os-release && echo "$PRETTY_NAME")"
    printf 'libc %s\n' "$(getconf GNU_LIBC_VERSION)"
} >>"$folder/versions.txt"
echo "gpu-pack: $folder, $(du -sh "$folder" | cut -f 1)"
