#!/usr/bin/env bash
# Each check of checks.sh finds the breach it is there for, and nothing in a tree without one.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
. "$here/checks.sh"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

# fresh: a small tree in which all rules hold
fresh() {
    rm -rf "$tree"
    mkdir -p "$tree"/{tuner/base,workloads/graph,workloads/program,probes/backends/cpu,results,tests/structure,tests/a}
    cp "$here/rooms.txt" "$tree/tests/structure/"
    echo 'banned tuner/base/memory.c the door' >"$tree/tests/structure/exceptions.txt"
    echo '#include <stdlib.h>
void *fm_calloc(void) { return malloc(1); }' >"$tree/tuner/base/memory.c"
    echo '#include "tuner/base/memory.h"
#include "workloads/program/program.h"
/* malloc(1) in a comment, // strcpy(a, b) too
   free(x) */
static const char text[] = "sprintf(\"atoi(\")"; // gmtime(x)
char q = '"'\"'"'; void fm_free(void *); int f(struct s *x) { x->free(1); x->v.free(2); return gmtime_r(0, 0); }' \
        >"$tree/workloads/graph/graph.c"
    echo '#include <stdint.h>
uint32_t fm_x(void);' >"$tree/tuner/base/memory.h"
    echo '#include "tuner/base/memory.h"' >"$tree/workloads/program/program.h"
    echo '#include <oneapi/dnnl/dnnl.h>
#include <omp.h>' >"$tree/probes/backends/cpu/cpu.c"
    long_function long "$MAX_FUNCTION_LINES" >"$tree/results/results.c"
}

# a function NAME whose braces are LINES lines apart, both counted
long_function() {
    printf 'static int other(int x);\nint fm_%s(int a,\n    int b)\n{\n' "$1"
    for ((i = 2; i < $2; i++)); do echo '    a++;'; done
    echo '}'
}

# expect CHECK WANT: its output has exactly the lines that begin with WANT's, in order; none if WANT is empty
expect() {
    local got
    got=$("$1" "${3:-$tree}" | sed 's/^\([^:]*:[0-9]*\): .*/\1/')
    if [ "$got" != "$2" ]; then
        printf 'line %s: %s: wanted [%s], got [%s]\n' "${BASH_LINENO[0]}" "$1" "$2" "$got" >&2
        failures=$((failures + 1))
    fi
}

fresh
for check in check_includes check_banned check_headers check_lengths; do expect $check ''; done

# includes: upwards, unknown, relative, a library, a file without a room, a header of a room above
echo '#include "workloads/program/program.h"' >>"$tree/tuner/base/memory.h"
expect check_includes tuner/base/memory.h:3
fresh
echo '#include "graph.h"' >"$tree/workloads/graph/a.c"
echo ' # include "nowhere/x.h"' >"$tree/workloads/graph/b.c"
echo '#include <cjson/cJSON.h>' >"$tree/workloads/graph/c.h"
echo '#include <yaml.h>' >"$tree/probes/x.c"
expect check_includes $'probes/x.c:1\nworkloads/graph/a.c:1\nworkloads/graph/b.c:1\nworkloads/graph/c.h:1'
fresh
echo '#include "probes/backends/cpu/kernels.h"' >"$tree/results/r.c"
echo '#include "probes/backends/cpu/kernels.h"' >"$tree/tests/a/test_x.c"
expect check_includes results/r.c:1

# banned functions, each by itself; the door alone may
for name in strcpy strcat sprintf vsprintf strtok atoi atof gmtime localtime alloca malloc calloc realloc free; do
    fresh
    printf '/* x */\nint a = 1 +%s (x);\n' "$name" >"$tree/results/banned.c"
    expect check_banned results/banned.c:2
done
fresh
echo 'x = malloc(1); free(x);' >"$tree/results/twice.h"
expect check_banned $'results/twice.h:1\nresults/twice.h:1'
fresh
echo 'banned results/b.c' >>"$tree/tests/structure/exceptions.txt" # no reason given: no exception
echo 'f(malloc(1));' >"$tree/results/b.c"
expect check_banned results/b.c:1

# headers
fresh
echo 'uint32_t fm_y(void);' >"$tree/results/lone.h"
expect check_headers results/lone.h:1
fresh
mkdir -p "$tree/outside a/installed" "$tree/outside b"
echo 'typedef int outside_a;' >"$tree/outside a/installed/a.h"
echo 'typedef int outside_b;' >"$tree/outside b/b.h"
printf '#include <installed/a.h>\n#include <b.h>\noutside_a fm_y(outside_b);\n' >"$tree/results/uses.h"
expect check_headers results/uses.h:1
FM_INCLUDE_DIRS="$tree/outside a" expect check_headers results/uses.h:1
FM_INCLUDE_DIRS="$tree/outside a:$tree/outside b" expect check_headers ''

# lengths of files and functions, and their exceptions
fresh
long_function longer $((MAX_FUNCTION_LINES + 1)) >"$tree/results/f.c"
expect check_lengths results/f.c:4
echo 'function results/f.c:fm_longer it is a table' >>"$tree/tests/structure/exceptions.txt"
expect check_lengths ''
for ending in c h py sh; do
    fresh
    seq "$MAX_FILE_LINES" >"$tree/ci.$ending"
    mkdir -p "$tree/ci"
    seq "$MAX_FILE_LINES" >"$tree/ci/short.$ending"
    seq $((MAX_FILE_LINES + 1)) >"$tree/ci/long.$ending"
    expect check_lengths "ci/long.$ending:$((MAX_FILE_LINES + 1))"
done
echo 'length ci/long.sh a list' >>"$tree/tests/structure/exceptions.txt"
expect check_lengths ''

# links: a vendor's library, a binary that is not there, and one without
fresh
echo 'int dnnl_x(void) { return 0; }' | ${CC:-cc} -shared -fPIC -x c - -o "$tree/libdnnl.so"
echo 'int dnnl_x(void); int main(void) { return dnnl_x(); }' |
    ${CC:-cc} -x c - -x none -o "$tree/bad" "$tree/libdnnl.so" -Wl,-rpath,"$tree"
echo 'int main(void) { return 0; }' | ${CC:-cc} -x c - -o "$tree/good"
expect check_links "$tree/bad:0" "$tree/bad"
expect check_links "$tree/none:0" "$tree/none"
expect check_links '' "$tree/good"

[ $failures -eq 0 ] || { echo "structure: $failures checks do not check" >&2; exit 1; }
