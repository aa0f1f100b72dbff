# report.html: one file that asks for nothing; and in a browser, where there is one: no error, its figures are the JSON's,
# sorting, filtering and the keyboard work, on a wide screen and on a phone's.
. "$(dirname "$0")/common.sh"

# a run of eight cells on the cpu backend, as it was recorded
mkdir run
cp "$FM_SOURCE_DIR/tests/data/results/recorded.journal" run/journal.jsonl

code=0
"$FILLMARK" report run --format html >report.html 2>err.txt || code=$?
if [ "$code" -eq 11 ]; then
    says err.txt "install node-d3"
    echo "skipped: fillmark was built without D3 (package node-d3)"
    exit 77
fi
[ "$code" -eq 0 ] || { cat err.txt >&2; fail "report --format html: exit code $code"; }
says report.html '<script id="result" type="application/json">{"schema":"fillmark.result/1"'
if grep -qE '(src|href)="?(https?:)?//' report.html; then fail "the page asks for something outside of it"; fi

browser=""
for name in ${FM_BROWSER:-chromium chromium-browser google-chrome}; do
    if command -v "$name" >/dev/null; then browser=$name; break; fi
done
if [ -z "$browser" ]; then
    echo "skipped: no browser (package chromium): the page was written, what it shows was not looked at"
    exit 77
fi

# checked PAGE: as it is, and behind it what uses it
checked() { cat "$1"; echo "<script>"; cat "$FM_SOURCE_DIR/tests/cli/report_check.js"; echo "</script>"; }
checked report.html >check.html
# plans for two GPUs that are not here
wants 0 "$FILLMARK" plan --device rtx3060,h200 --workload segformer --precision fp32,bf16 --out plans
wants 0 "$FILLMARK" report plans --format html
checked out.txt >check-plans.html
# as root a browser's sandbox cannot be had; its profile goes away with this folder
look() {
    timeout 150 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$dir/profile" \
        --enable-blink-features=ComputedAccessibilityInfo --enable-logging=stderr "$@" --dump-dom "file://$dir/$page" >dom.txt 2>log.txt || { tail -5 log.txt >&2; fail "$browser ended badly"; }
    if grep -E 'CONSOLE' log.txt >&2; then fail "the page has errors"; fi
}
for page in check.html check-plans.html; do
    for width in 1280 500; do
        look --window-size="$width,900"
        grep '<pre id="checks">all checks hold</pre>' dom.txt >/dev/null || { sed -n '/<pre id="checks">/,/<\/pre>/p' dom.txt >&2; fail "$page at width $width"; }
    done
done

# a view that was sent: its address says what is shown
page='report.html#find=blocks&model=changed&sort=rate&order=descending'
look --window-size=1280,900
says dom.txt ">2 of 8 cells<"
says dom.txt 'aria-sort="descending"'

# and the checks can fail: a page whose figures are not its JSON's
sed 's/samples_per_s.median), (v, c)/samples_per_s.median * 2), (v, c)/' check.html >wrong.html
cmp -s check.html wrong.html && fail "nothing was made wrong"
page=wrong.html
look --window-size=1280,900
says dom.txt "FAIL"
