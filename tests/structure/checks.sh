# The project's structural rules, as functions. Each takes the root of a source tree, prints one line
# `file:line: what is wrong` for every breach, and prints nothing where the rule holds.
# shellcheck shell=bash

MAX_FILE_LINES=600
MAX_FUNCTION_LINES=70

# paths of the tree's own files with one of the given endings, relative to ROOT
tree_files() {
    local root=$1 ending
    shift
    local match=()
    for ending in "$@"; do match+=(-o -name "*.$ending"); done
    (cd "$root" && for top in tuner workloads probes results tests ci docs; do
        [ -d "$top" ] && find "$top" -type f \( "${match[@]:1}" \) ! -path 'tests/data/*'
    done) | sort
}

# is there an exception `RULE PATH` in ROOT's list?
excepted() {
    local root=$1 rule=$2 what=$3
    [ -r "$root/tests/structure/exceptions.txt" ] || return 1
    awk -v rule="$rule" -v what="$what" '$1 == rule && $2 == what && NF > 2 { found = 1 } END { exit !found }' \
        "$root/tests/structure/exceptions.txt"
}

# C source with comments and the contents of literals blanked, line numbers kept
strip_c() {
    awk '
    {
        out = ""; n = length($0)
        for (i = 1; i <= n; i++) {
            c = substr($0, i, 1); two = substr($0, i, 2)
            if (comment) { if (two == "*/") { comment = 0; i++ } continue }
            if (two == "/*") { comment = 1; i++; out = out " "; continue }
            if (two == "//") break
            if (c == "\"" || c == "\047") {
                for (i++; i <= n && substr($0, i, 1) != c; i++) if (substr($0, i, 1) == "\\") i++
                out = out c c
                continue
            }
            out = out c
        }
        print out
    }' "$1"
}

# a: a room includes only what its row in rooms.txt names
check_includes() {
    local root=$1 files
    mapfile -t files < <(tree_files "$root" c h def cu)
    [ ${#files[@]} -gt 0 ] || return 0
    (cd "$root" && awk '
    function fault(text) { printf "%s:%d: %s\n", FILENAME, FNR, text }
    function within(path, folder) { return path == folder || index(path, folder "/") == 1 }
    function room_of(path,    room, best) {
        best = ""
        for (room in may) if (within(path, room) && length(room) > length(best)) best = room
        return best
    }
    function allowed(room, what,    i, n, word) {
        n = split(may[room], word, " ")
        for (i = 1; i <= n; i++) if (within(what, word[i])) return 1
        return 0
    }
    FILENAME ~ /rooms\.txt$/ {
        if ($1 == "room") {
            line = $0; sub(/^[^:]*:/, "", line)
            may[$2] = line
        } else if ($1 == "library") {
            for (i = 3; i <= NF; i++) library[$i] = $2
        }
        next
    }
    FNR == 1 { room = room_of(FILENAME); if (room == "") fault("belongs to no room of rooms.txt") }
    room != "" && /^[ \t]*#[ \t]*include[ \t]*"/ {
        path = $0; sub(/^[^"]*"/, "", path); sub(/".*/, "", path)
        target = room_of(path)
        if (target == "") fault("\"" path "\" is not a path from the root into a room")
        else if (target != room && !allowed(room, path))
            fault(room " may not include " path " (see tests/structure/rooms.txt)")
    }
    room != "" && /^[ \t]*#[ \t]*include[ \t]*</ {
        path = $0; sub(/^[^<]*</, "", path); sub(/>.*/, "", path)
        for (start in library)
            if (index(path, start) == 1 && !allowed(room, library[start]))
                fault(room " may not include <" path "> (see tests/structure/rooms.txt)")
    }' tests/structure/rooms.txt "${files[@]}")
}

# b: functions that overflow, hide errors or keep hidden state are not called, nor malloc but through its door
check_banned() {
    local root=$1 file
    while read -r file; do
        excepted "$root" banned "$file" && continue
        strip_c "$root/$file" | awk -v file="$file" '
        BEGIN {
            names = "strcpy|strcat|sprintf|vsprintf|strtok|atoi|atof|gmtime|localtime|alloca|malloc|calloc|realloc|free"
        }
        {
            line = " " $0
            # a member of that name (x.free(...)) is not the function; -> is left out for the same reason
            while (match(line, "[^A-Za-z0-9_.>](" names ")[ \t]*\\(")) {
                name = substr(line, RSTART + 1, RLENGTH - 1); sub(/[ \t]*\($/, "", name)
                printf "%s:%d: %s is banned here\n", file, NR, name
                line = substr(line, RSTART + RLENGTH)
            }
        }'
    done < <(tree_files "$root" c h)
}

# c: each header compiles alone, with libraries' headers also in FM_INCLUDE_DIRS, folders with : between them
check_headers() {
    local root=$1 file folder folders outside=()
    IFS=: read -ra folders <<<"${FM_INCLUDE_DIRS:-}"
    for folder in "${folders[@]}"; do outside+=(-isystem "$folder"); done
    while read -r file; do
        # from within the tree, since the compiler looks in the working folder first; clang, unlike gcc, would find
        # that a header's static functions are not used here
        (cd "$root" && printf '#include "%s"\n' "$file" |
            ${CC:-cc} -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wno-unused-function -Werror -I . "${outside[@]}" -fsyntax-only -x c - 2>/dev/null) ||
            echo "$file:1: does not compile alone"
    done < <(tree_files "$root" h)
}

# d: files and functions are short
check_lengths() {
    local root=$1 file lines name length line
    while read -r file; do
        lines=$(wc -l <"$root/$file")
        if [ "$lines" -gt $MAX_FILE_LINES ] && ! excepted "$root" length "$file"; then
            echo "$file:$lines: more than $MAX_FILE_LINES lines"
        fi
    done < <(tree_files "$root" c h py sh)
    # a function runs from a brace in the first column to the next closing one there
    while read -r file; do
        while read -r line length name; do
            excepted "$root" function "$file:$name" || echo "$file:$line: $name has $length lines, not at most $MAX_FUNCTION_LINES"
        done < <(awk -v max=$MAX_FUNCTION_LINES '
            /^{/ { start = NR }
            /^}/ && start { if (NR - start + 1 > max) print start, NR - start + 1, name; start = 0 }
            # the last name before a parenthesis at the start of a line is that of the function
            !start && /^[A-Za-z_].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[^A-Za-z0-9_]/, "", name) }
        ' "$root/$file")
    done < <(tree_files "$root" c)
}

# e: the command links no vendor's library. Takes the binary, not a tree.
check_links() {
    local libraries
    libraries=$(ldd "$1" 2>&1) || { echo "$1:0: ldd: $libraries"; return 0; }
    awk -v file="$1" 'tolower($1) ~ /dnnl|mkl|cuda|cudnn|cublas|nccl|nvidia|nvml|hip|rocm|opencl|sycl/ {
        printf "%s:0: links %s\n", file, $1
    }' <<<"$libraries"
}
