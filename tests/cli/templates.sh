# ci/templates: what GitHub and systemd will read, checked by what is here to check it; its scripts run against stand-ins.
. "$(dirname "$0")/common.sh"
templates=$FM_SOURCE_DIR/ci/templates

# the night's configuration: every key and cell is known; its GPU is not needed for that
wants 0 "$FILLMARK" plan "$templates/nightly.yaml" --device none --batch 1
touch blocked
wants 20 "$FILLMARK" run "$templates/nightly.yaml" --device cpu --out blocked/night

# systemd: a copy whose paths exist here. verify prints what it does not know and still returns 0.
if command -v systemd-analyze >/dev/null; then
    mkdir units
    for unit in service timer; do
        sed "s,/opt/fillmark/build/fillmark,$FILLMARK,g; s,/opt/fillmark/,$FM_SOURCE_DIR/,g" "$templates/fillmark-nightly.$unit" >units/fillmark-nightly.$unit
    done
    SYSTEMD_UNIT_PATH="$dir/units:" systemd-analyze verify units/fillmark-nightly.timer units/fillmark-nightly.service >verify.txt 2>&1 || true
    if grep -F fillmark-nightly verify.txt; then fail "systemd-analyze does not take the units"; fi
    when=$(sed -n 's/^OnCalendar=//p' units/fillmark-nightly.timer)
    systemd-analyze calendar "$when" >/dev/null || fail "OnCalendar: $when"
    echo "systemd-analyze took both units"
else
    skipped="systemd-analyze is not here"
fi
command=$(sed -n 's/^ExecStart=//p' "$templates/fillmark-nightly.service")
read -ra word <<<"$command"
for option in "${word[@]}"; do
    [[ $option != --?* ]] || "$FM_SOURCE_DIR/ci/nightly.sh" --help | grep -- "^  $option " >/dev/null || fail "nightly.sh has no $option"
done

# GitHub Actions
if ! python3 -c 'import yaml' 2>/dev/null; then
    echo "skipped: no python3 with yaml for the workflow${skipped:+; $skipped}"
    exit 77
fi
python3 - "$templates/github-actions.yml" <<'PYTHON' || fail "github-actions.yml"
import re, sys, yaml

class Loader(yaml.SafeLoader):
    """refuses a key that is there twice, which GitHub does too"""
def mapping(loader, node):
    keys = [loader.construct_object(key) for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"line {node.start_mark.line + 1}: a key twice"
    return {loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value}
Loader.add_constructor("tag:yaml.org,2002:map", mapping)

flow = yaml.load(open(sys.argv[1], encoding="utf-8"), Loader)
on = flow[True]                             # YAML 1.1 takes `on` for a boolean
assert set(flow) == {"name", True, "concurrency", "permissions", "jobs"}, set(flow)
assert set(on) == {"schedule", "workflow_dispatch"}, "never on pull requests: that runs code of strangers"
assert all(re.fullmatch(r"(\S+ ){4}\S+", entry["cron"]) for entry in on["schedule"])
assert flow["permissions"] == {"contents": "read"} and flow["concurrency"]["cancel-in-progress"] is False
jobs = flow["jobs"]
assert set(jobs) == {"night", "publish"}
assert {"self-hosted", "gpu"} <= set(jobs["night"]["runs-on"]) and "permissions" not in jobs["night"]
assert "self-hosted" not in jobs["publish"]["runs-on"] and jobs["publish"]["needs"] == "night"
ids = {step["id"] for step in jobs["night"]["steps"] if "id" in step}
uses, runs = [], {}
for name, job in jobs.items():
    assert set(job) <= {"needs", "if", "runs-on", "timeout-minutes", "env", "outputs", "permissions", "steps"}, set(job)
    for step in job["steps"]:
        assert set(step) <= {"name", "id", "if", "uses", "with", "run"}, set(step)
        assert ("uses" in step) != ("run" in step), step
        assert "with" not in step or "uses" in step, step
        if "run" in step:
            assert "${{" not in step["run"], "an expression inside of a script: what it holds would be run"
            runs[step["name"]] = step["run"]
        else:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]), step["uses"]
            uses.append((step["uses"].split("@")[0], step.get("with", {})))
text = open(sys.argv[1], encoding="utf-8").read()
for expression in re.findall(r"\$\{\{(.*?)\}\}", text):
    for step in re.findall(r"steps\.(\w+)\.", expression):
        assert step in ids, f"no step {step}"
upload = [w for u, w in uses if u == "actions/upload-artifact"]
download = [w for u, w in uses if u == "actions/download-artifact"]
assert len(upload) == len(download) == 1 and upload[0]["name"] == download[0]["name"]
tools = {w["tool"]: w["output-file-path"] for u, w in uses if u == "benchmark-action/github-action-benchmark"}
assert tools == {"customBiggerIsBetter": "night/bigger.json", "customSmallerIsBetter": "night/smaller.json"}, tools
names = [w["name"] for u, w in uses if u == "benchmark-action/github-action-benchmark"]
assert len(set(names)) == 2, "one chart for both"
for name, script in runs.items():
    open(f"step-{name}.sh", "w", encoding="utf-8").write(script)
assert set(runs) == {"Build", "Tonight", "Collect"}, set(runs)
PYTHON
for script in step-*.sh; do bash -n "$script" || fail "$script"; done

# the night's step with a nightly.sh that ends with each code: the job ends so too, and says why
mkdir -p ci folder/old
export FOLDER=$dir/folder GITHUB_STEP_SUMMARY=$dir/summary.md GITHUB_OUTPUT=$dir/output.txt
for code in 0 30 31 32 20; do
    ln -sfn "$FOLDER/old" folder/latest
    printf '#!/bin/sh\n[ "$*" = "--folder %s -- ci/templates/nightly.yaml" ] || exit 99\nexit %d\n' "$FOLDER" $code >ci/nightly.sh
    chmod +x ci/nightly.sh
    wants $code bash -e step-Tonight.sh
    [ ! -e folder/latest ] || fail "last night could pass for tonight"
    [ $code -eq 0 ] || says out.txt "::error title=fillmark::"
    [ $code -ne 0 ] || [ ! -s out.txt ] || fail "a good night complains"
done

# collecting: after a night that failed at once, and after a whole one
: >output.txt
wants 0 bash -e step-Collect.sh
[ ! -s output.txt ] || fail "there are reports of a night that was not"
mkdir folder/tonight
ln -sfn "$FOLDER/tonight" folder/latest
for file in report.md compare.txt junit.xml bigger.json smaller.json result.json journal.jsonl; do echo "$file" >folder/tonight/$file; done
touch folder/history.txt folder/history.sqlite
wants 0 bash -e step-Collect.sh
says output.txt "reports=yes"
says summary.md "report.md"
says summary.md "compare.txt"
[ "$(find night -type f | wc -l)" -eq 9 ] || fail "not all was collected"

# and the real nightly.sh names its files as that step does
grep -q 'ln -sfn "$night" "$folder/latest"' "$FM_SOURCE_DIR/ci/nightly.sh" || fail "nightly.sh leaves no link to the latest night"
for file in report.md compare.txt junit.xml bigger.json smaller.json history.txt; do
    grep -q "/$file\"" "$FM_SOURCE_DIR/ci/nightly.sh" || fail "nightly.sh writes no $file"
done
[ -z "${skipped:-}" ] || { echo "skipped: $skipped; the rest passed"; exit 77; }
