/* What the man pages of commands say beyond their options. */
#include "tuner/options/table.h"

#define JOURNAL { "DIR/journal.jsonl", "what happened, one checksummed and synced line a probe; the truth of a run" }
#define MADE { "DIR/rows.jsonl, table.csv, table.md, result.json", "made from the journal, by fillmark report again" }
#define CACHE { "~/.cache/fillmark/workspaces-*.tsv", \
                "what backends said of workspaces; may be deleted at any time. Elsewhere by FILLMARK_CACHE_DIR or XDG_CACHE_HOME" }

const struct fm_page fm_pages[] = {
    { "run", NULL,
      { "Each cell's memory is planned, then the largest batch is confirmed in worker processes: one batch that fits and the next "
        "one that does not. Below it throughput is measured, up to the knee: the smallest batch within 5 % of the best. The "
        "ranked table goes to standard output, progress to standard error.",
        "A cell that does not fit, is unsupported or crashes its worker is a row of the table, not a failure of the command. "
        "Interrupted by SIGINT or SIGTERM it ends cleanly, and --resume goes on." },
      { { "fillmark run --workload segformer --set variant=b0,b2 --precision fp32,bf16 --memory 8GiB --out results-b",
          "Four cells, within 8 GiB." },
        { "fillmark run --resume --out results-b", "Goes on after an interruption; nothing is measured twice." },
        { "fillmark run --workload denseunet3d --precision fp32,bf16 --checkpoint none,blocks --time-budget 10m --out results-a",
          "The published network, four ways of training, ten minutes." } },
      { JOURNAL, MADE, CACHE },
      { { "0", "the campaign ended; what was left out for time is listed" },
        { "11", "a worker or device that was asked for is not here" },
        { "22", "--resume: the journal is of another device, library, thread count or version" },
        { "130", "interrupted; the journal holds all that was measured" } } },
    { "plan", "the memory of training and the largest batch, by calculation",
      { "The step program of each cell is replayed through a model of PyTorch's caching allocator; nothing is executed. Without "
        "--batch the largest batch within --memory is found. --device none plans without a device and without workspaces; GPUs "
        "that are not here are named as fillmark show devices has them.",
        "What is printed is planned, never measured. With --out it is also kept as a run's results are, for fillmark report." },
      { { "fillmark plan --device none --workload denseunet3d --precision fp16 --batch 1",
          "The memory of one training step of the published network, with its breakdown." },
        { "fillmark plan --device none --workload segformer --set variant=b5 --memory 24GiB",
          "The largest batch within 24 GiB." },
        { "fillmark plan --device rtx4090,h200 --workload segformer --precision fp32,bf16", "For two GPUs that are not here." } },
      { { "DIR/journal.jsonl, rows.jsonl, table.csv, table.md, result.json", "with --out DIR: the plans" }, CACHE },
      { { "0", "planned, also where batch 1 does not fit: the largest batch is 0 then" },
        { "11", "a device that was asked for is not here" } } },
    { "show", "the networks and devices that fillmark knows",
      { "Networks and devices are data. A network's settings are what --set takes, its blocks what --checkpoint can name. The "
        "table of devices is built in; --device-file adds to it." },
      { { "fillmark show workloads", "All networks." },
        { "fillmark show workload denseunet3d --layers", "One row a layer." },
        { "fillmark show workload segformer --set variant=b5 --json", "The same facts for a program." },
        { "fillmark show devices", "GPUs that fillmark plan --device takes." } },
      { { 0 } }, { { 0 } } },
    { "devices", NULL,
      { "Every backend's worker is asked for its devices. What would spoil a measurement, as other processes on the device or a "
        "power limit, is said." },
      { { "fillmark devices", "What is here." }, { "fillmark devices --json", "For a program." } },
      { { 0 } }, { { "0", "asked; a backend that has no device here is listed with the reason" } } },
    { "report", NULL,
      { "The tables, charts and test reports of a run are made from its journal alone, also of one that was killed or still runs. "
        "The files beside the journal are written again." },
      { { "fillmark report results-a", "The ranked table." },
        { "fillmark report results-a --format markdown", "For a pull request." },
        { "fillmark report results-a --format junit", "For a CI server: one test a cell." } },
      { JOURNAL, MADE },
      { { "11", "--format html where fillmark was built without D3" } } },
    { "compare", NULL,
      { "Cells that both runs have are compared: outcome, largest batch, samples/s where both have the launches, peak memory. A "
        "difference counts as worse only if its interval is beyond what is tolerated." },
      { { "fillmark compare base new", "A table, and the exit code." },
        { "fillmark compare base new --max-slowdown 3% --max-memory-growth 0%", "With other tolerances." },
        { "fillmark compare base new --json", "For a program." } },
      { { "BASE/journal.jsonl, NEW/journal.jsonl", "the two runs; nothing is written" } },
      { { "0", "not worse" }, { "30", "worse" }, { "31", "undecided: too few launches to tell" },
        { "32", "nothing in the two runs can be compared" } } },
    { "history", NULL,
      { "One file holds the figures of many runs. Listed, each figure has its level, how much it moves from night to night, and "
        "the night from which on it is another one." },
      { { "fillmark history history.sqlite --add base --verdict first", "Adds the run in base; the file is made." },
        { "fillmark history history.sqlite", "How each figure moves." },
        { "fillmark history history.sqlite --last-good", "The folder of the latest good run." },
        { "fillmark history history.sqlite --json", "For a program." } },
      { { "FILE", "an SQLite database" } },
      { { "22", "the file is no history, or of a later version" }, { "32", "--last-good: there is none" } } },
    { "export", NULL,
      { "The configuration that fillmark advise chooses, or the cell of --only, in the words of a framework: on standard output, "
        "or by --into in a file that exists, where only the values concerned change. Nothing is made up: what is not known is a "
        "comment or a line on standard error." },
      { { "fillmark export results-a --workload denseunet3d --format lightning", "YAML of LightningCLI." },
        { "fillmark export results-a --workload denseunet3d --format json", "All that is known." },
        { "fillmark export --workload segformer --device none --memory 8GiB --format hf", "From plans, without a run." } },
      { { "DIR/journal.jsonl", "the run; without DIR the choice is planned" } },
      { { "10", "nothing of what was asked for fits" }, { "11", "the framework cannot train that configuration" },
        { "22", "--into: the file changed meanwhile; nothing was written" } } },
    { "advise", NULL,
      { "Of the cells that fit, the one that meets --objective, with batch, accumulation, learning rate and the time of an epoch "
        "for the global batch that is wanted. Where nothing fits, the smallest changes that would." },
      { { "fillmark advise results-a --workload denseunet3d --target-global-batch 8", "From a run." },
        { "fillmark advise --workload denseunet3d --device none --memory 24GiB --target-global-batch 8", "From plans." },
        { "fillmark advise --workload segformer --device none --memory 8GiB --json", "For a program." } },
      { { "DIR/journal.jsonl", "the run; without DIR the advice is planned" } },
      { { "10", "nothing fits; what would is printed" }, { "11", "a device that was asked for is not here" } } },
    { "explain", NULL,
      { "Reads PyTorch's out-of-memory message from FILE or standard input, with whatever text stands around it. With a network "
        "and its settings it also names the tensor that was asked for, the phase and the batch, by calculation." },
      { { "fillmark explain oom.txt", "What the message says." },
        { "fillmark explain oom.txt --workload denseunet3d --set n_infers=3", "Which tensor it was." },
        { "fillmark explain oom.txt --workload denseunet3d --set n_infers=3 --json", "For a program." } },
      { { 0 } }, { { "2", "also: no out-of-memory message in the text" } } },
};
const size_t fm_page_count = sizeof fm_pages / sizeof fm_pages[0];
