#include "tuner/options/table.h"

#include "tuner/base/text.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define RUN (1u << FM_COMMAND_RUN)
#define PLAN (1u << FM_COMMAND_PLAN)
#define SHOW_WORKLOADS (1u << FM_COMMAND_SHOW_WORKLOADS)
#define SHOW_WORKLOAD (1u << FM_COMMAND_SHOW_WORKLOAD)
#define SHOW_DEVICES (1u << FM_COMMAND_SHOW_DEVICES)
#define DEVICES (1u << FM_COMMAND_DEVICES)
#define REPORT (1u << FM_COMMAND_REPORT)
#define COMPARE (1u << FM_COMMAND_COMPARE)
#define HISTORY (1u << FM_COMMAND_HISTORY)
#define EXPORT (1u << FM_COMMAND_EXPORT)
#define ADVISE (1u << FM_COMMAND_ADVISE)
#define EXPLAIN (1u << FM_COMMAND_EXPLAIN)
#define AT(field) .offset = offsetof(struct fm_options, field)
#define AXIS(id) .kind = FM_OPTION_STRATEGY, .group = FM_GROUP_STRATEGIES, .commands = RUN | PLAN | ADVISE | EXPLAIN | EXPORT, .strategy = (id)
/* plan does not run: it takes them in a file that is also run's, and makes nothing of them */
#define RUNS .commands = RUN, .files_only = PLAN
#define SEGMENT_BYTES (INT64_C(2) << 20)        /* the smallest that PyTorch's allocator asks a device for */
#define SECOND_NS INT64_C(1000000000)
#define YEAR_NS (365 * 24 * 3600 * SECOND_NS)

const char *const fm_option_groups[FM_GROUP_COUNT] = {
    [FM_GROUP_WORKLOADS] = "workloads", [FM_GROUP_STRATEGIES] = "strategies", [FM_GROUP_DEVICE] = "device",
    [FM_GROUP_SEARCH] = "search and measurement", [FM_GROUP_ADVICE] = "advice", [FM_GROUP_GATE] = "what is tolerated", [FM_GROUP_OUTPUT] = "output",
};

const struct fm_option fm_option_table[FM_OPTION_COUNT] = {
    [FM_OPTION_WORKLOAD] = { .name = "workload", .argument = "NAME,...", .kind = FM_OPTION_WORKLOADS,
        .group = FM_GROUP_WORKLOADS, .commands = RUN | PLAN | EXPORT | ADVISE | EXPLAIN, AT(workload),
        .help = "networks to train, at their published sizes; default: all, at sizes for small memories" },
    [FM_OPTION_SET] = { .name = "set", .argument = "KEY=VALUE,...", .kind = FM_OPTION_SETTING,
        .group = FM_GROUP_WORKLOADS, .commands = RUN | PLAN | SHOW_WORKLOAD | ADVISE | EXPLAIN | EXPORT,
        .help = "setting of all chosen workloads that have it, or of one: WORKLOAD.KEY=VALUE; commas part values of this one "
                "key, another key takes another --set" },

    [FM_OPTION_PRECISION] = { .name = "precision", .argument = "LIST", AXIS(FM_STRATEGY_PRECISION),
        .campaign = "fp32,bf16" },
    [FM_OPTION_MEMORY_FORMAT] = { .name = "memory-format", .argument = "LIST", AXIS(FM_STRATEGY_MEMORY_FORMAT) },
    [FM_OPTION_ATTENTION] = { .name = "attention", .argument = "LIST", AXIS(FM_STRATEGY_ATTENTION) },
    [FM_OPTION_CHECKPOINT] = { .name = "checkpoint", .argument = "LIST", AXIS(FM_STRATEGY_CHECKPOINT),
        .campaign = "none,blocks" },
    [FM_OPTION_CHANNELS] = { .name = "channels", .argument = "LIST", AXIS(FM_STRATEGY_CHANNELS), .campaign = "1,1/2" },
    [FM_OPTION_ACCUMULATE] = { .name = "accumulate", .argument = "LIST", AXIS(FM_STRATEGY_ACCUMULATE) },
    [FM_OPTION_OPTIMIZER] = { .name = "optimizer", .argument = "LIST", AXIS(FM_STRATEGY_OPTIMIZER) },
    [FM_OPTION_OPTIMIZER_FORM] = { .name = "optimizer-form", .argument = "LIST", AXIS(FM_STRATEGY_OPTIMIZER_FORM) },
    [FM_OPTION_ZERO_GRAD] = { .name = "zero-grad", .argument = "LIST", AXIS(FM_STRATEGY_ZERO_GRAD) },
    [FM_OPTION_CUDNN_BENCHMARK] = { .name = "cudnn-benchmark", .argument = "LIST", AXIS(FM_STRATEGY_CUDNN_BENCHMARK) },
    [FM_OPTION_VAL_BATCH] = { .name = "val-batch", .argument = "LIST", AXIS(FM_STRATEGY_VAL_BATCH),
        .campaign = "same,half" },
    [FM_OPTION_LOOP] = { .name = "loop", .argument = "FORM", AXIS(FM_STRATEGY_LOOP), .single = true },
    [FM_OPTION_ACCOUNTING] = { .name = "accounting", .argument = "FORM", AXIS(FM_STRATEGY_ACCOUNTING), .single = true },

    [FM_OPTION_DEVICE] = { .name = "device", .argument = "LIST", .kind = FM_OPTION_DEVICES, .group = FM_GROUP_DEVICE,
        .commands = RUN | PLAN | EXPORT | ADVISE, AT(device), .text = "all",
        .help = "cpu, cuda:N, the UUID of a GPU, all: every GPU, or the CPU where there is none; ref: the slow oracle; "
                "plan, advise and export, where nothing runs: also a GPU that is not here (fillmark show devices), or none: any "
                "precision, no workspace" },
    [FM_OPTION_DEVICE_FILE] = { .name = "device-file", .argument = "FILE", .kind = FM_OPTION_PATH, .group = FM_GROUP_DEVICE,
        .commands = PLAN | SHOW_DEVICES | ADVISE | EXPORT, AT(device_file), .help = "your own table of GPUs; it adds to the built-in one" },
    [FM_OPTION_CALIBRATE] = { .name = "calibrate", .argument = "DIR", .kind = FM_OPTION_PATH, .group = FM_GROUP_DEVICE,
        .commands = PLAN, AT(calibrate),
        .help = "a run on the same device, from whose measured steps planned samples/s are calculated" },
    [FM_OPTION_MEMORY] = { .name = "memory", .argument = "SIZE", .kind = FM_OPTION_BYTES, .group = FM_GROUP_DEVICE,
        .commands = RUN | PLAN | ADVISE | EXPORT, AT(memory_bytes), .text = "auto", .word = "auto", .lo = SEGMENT_BYTES,
        .hi = INT64_C(1) << 60, .no_range = true,
        .help = "limit of reserved memory, as 2GiB or 1.5GB; auto: of a GPU what is free, of the CPU a quarter of free "
                "RAM, at most 2GiB (256MiB where no workload is named)" },
    [FM_OPTION_THREADS] = { .name = "threads", .argument = "N", .kind = FM_OPTION_INTEGER, .group = FM_GROUP_DEVICE,
        .commands = RUN | PLAN | DEVICES | ADVISE | EXPORT, AT(threads), .text = "auto", .word = "auto", .lo = 1, .hi = 4096,
        .help = "threads of the cpu device" },
    [FM_OPTION_SHARED] = { .name = "shared", .kind = FM_OPTION_SWITCH, .group = FM_GROUP_DEVICE, RUNS,
        AT(shared), .help = "time steps also while other processes compute on the GPU, and mark their rows; without it such steps "
                            "are not timed" },

    [FM_OPTION_SEARCH] = { .name = "search", .argument = "METHOD", .kind = FM_OPTION_METHOD, .group = FM_GROUP_SEARCH,
        RUNS, AT(search), .text = "plan",
        .help = "how the largest batch is found: plan (plan, then confirm), binsearch or power (as PyTorch "
                "Lightning)" },
    [FM_OPTION_MAX_BATCH] = { .name = "max-batch", .argument = "N", .kind = FM_OPTION_INTEGER, .group = FM_GROUP_SEARCH,
        .commands = RUN | PLAN, AT(max_batch), .text = "none", .word = "none", .word_value = FM_SEARCH_BATCH_LIMIT,
        .lo = 1, .hi = FM_SEARCH_BATCH_LIMIT, .no_range = true, .help = "no larger batch is tried" },
    [FM_OPTION_BATCH] = { .name = "batch", .argument = "N", .kind = FM_OPTION_INTEGER, .group = FM_GROUP_SEARCH,
        .commands = PLAN | EXPLAIN, AT(batch), .text = "none", .word = "none", .lo = 1, .hi = FM_SEARCH_BATCH_LIMIT,
        .no_range = true, .help = "plan this batch; none: the largest that fits" },
    [FM_OPTION_TIME_BUDGET] = { .name = "time-budget", .argument = "TIME", .kind = FM_OPTION_DURATION,
        .group = FM_GROUP_SEARCH, RUNS, AT(time_budget_ns), .text = "3m", .word = "none",
        .lo = SECOND_NS / 1000, .hi = YEAR_NS, .no_range = true, .of_the_run = true,
        .help = "when no more probes are begun: 90s, 4m, 1.5h or none; one that runs ends, at its deadline at the latest. What is left out is listed" },
    [FM_OPTION_DEADLINE] = { .name = "deadline", .argument = "TIME", .kind = FM_OPTION_DURATION,
        .group = FM_GROUP_SEARCH, RUNS, AT(deadline_ns), .text = "120s", .lo = SECOND_NS / 1000,
        .hi = YEAR_NS, .no_range = true,
        .help = "time for one probe; after it the outcome is a timeout" },
    [FM_OPTION_LAUNCHES] = { .name = "launches", .argument = "N", .kind = FM_OPTION_INTEGER, .group = FM_GROUP_SEARCH,
        RUNS, AT(launches), .text = "3", .lo = 1, .hi = 100,
        .help = "worker launches behind each throughput figure and its interval" },
    [FM_OPTION_SEED] = { .name = "seed", .argument = "N", .kind = FM_OPTION_INTEGER, .group = FM_GROUP_SEARCH,
        .commands = RUN | PLAN, AT(seed), .text = "1", .lo = 0, .hi = INT64_MAX, .no_range = true,
        .help = "of weights, data and resampling" },
    [FM_OPTION_POISON] = { .name = "poison", .kind = FM_OPTION_SWITCH, .group = FM_GROUP_SEARCH, RUNS,
        AT(poison), .help = "self-check: freed memory is filled with NaN and guarded by canaries" },
    [FM_OPTION_ONLY] = { .name = "only", .argument = "CELL,...", .kind = FM_OPTION_CELLS, .group = FM_GROUP_SEARCH,
        .commands = RUN | PLAN | EXPORT, AT(only), .of_the_run = true, .help = "only the cells whose ids begin so (hexadecimal, from a table)" },

    [FM_OPTION_TARGET_GLOBAL_BATCH] = { .name = "target-global-batch", .argument = "N", .kind = FM_OPTION_INTEGER,
        .group = FM_GROUP_ADVICE, .commands = ADVISE | EXPORT, AT(target_global_batch), .text = "none", .word = "none", .lo = 1,
        .hi = INT64_C(1) << 40, .no_range = true, .help = "samples of one optimizer step over all devices, kept exactly where a batch allows it" },
    [FM_OPTION_DEVICE_COUNT] = { .name = "devices", .argument = "N", .kind = FM_OPTION_INTEGER, .group = FM_GROUP_ADVICE,
        .commands = ADVISE | EXPORT, AT(devices), .text = "1", .lo = 1, .hi = 65536, .help = "that train together, each with its own copy" },
    [FM_OPTION_HEADROOM] = { .name = "headroom", .argument = "SIZE", .kind = FM_OPTION_WORD, .group = FM_GROUP_ADVICE,
        .commands = ADVISE | EXPORT, AT(headroom), .help = "memory to leave free, as 1GiB or 10%" },
    [FM_OPTION_MAX_MEMORY] = { .name = "max-memory", .argument = "SIZE", .kind = FM_OPTION_BYTES, .group = FM_GROUP_ADVICE,
        .commands = ADVISE | EXPORT, AT(max_memory_bytes), .text = "none", .word = "none", .lo = 1, .hi = INT64_C(1) << 60,
        .no_range = true, .help = "reserved memory that may be used; none: what the device had" },
    [FM_OPTION_ALLOW] = { .name = "allow", .argument = "NAME,...", .kind = FM_OPTION_WORD, .group = FM_GROUP_ADVICE,
        .commands = ADVISE | EXPORT, AT(allow), .help = "strategies and settings that may change the model where nothing else fits: channels, input, ..." },
    [FM_OPTION_OBJECTIVE] = { .name = "objective", .argument = "WHAT", .kind = FM_OPTION_WORD, .group = FM_GROUP_ADVICE,
        .commands = ADVISE | EXPORT, AT(objective), .text = "knee",
        .help = "knee: the least memory within 5 % of the most samples/s; throughput: the most samples/s; memory: the least memory" },
    [FM_OPTION_BASE_LR] = { .name = "base-lr", .argument = "X", .kind = FM_OPTION_WORD, .group = FM_GROUP_ADVICE,
        .commands = ADVISE | EXPORT, AT(base_lr), .help = "learning rate that is known to work" },
    [FM_OPTION_BASE_BATCH] = { .name = "base-batch", .argument = "N", .kind = FM_OPTION_INTEGER, .group = FM_GROUP_ADVICE,
        .commands = ADVISE | EXPORT, AT(base_batch), .text = "none", .word = "none", .lo = 1, .hi = INT64_C(1) << 40, .no_range = true,
        .help = "the global batch at which it does" },
    [FM_OPTION_LR_RULE] = { .name = "lr-rule", .argument = "RULE", .kind = FM_OPTION_WORD, .group = FM_GROUP_ADVICE,
        .commands = ADVISE | EXPORT, AT(lr_rule), .text = "none", .help = "how the rate follows the global batch: none, linear, sqrt" },
    [FM_OPTION_SAMPLES_PER_EPOCH] = { .name = "samples-per-epoch", .argument = "N", .kind = FM_OPTION_INTEGER,
        .group = FM_GROUP_ADVICE, .commands = ADVISE, AT(samples_per_epoch), .text = "none", .word = "none", .lo = 1,
        .hi = INT64_C(1) << 50, .no_range = true, .help = "for the time of an epoch" },

    [FM_OPTION_MAX_SLOWDOWN] = { .name = "max-slowdown", .argument = "SHARE", .kind = FM_OPTION_SHARE, .group = FM_GROUP_GATE,
        .commands = COMPARE, AT(max_slowdown_ppm), .text = "5%", .lo = 0, .hi = 999999, .no_range = true,
        .help = "fewer samples/s that are tolerated" },
    [FM_OPTION_MAX_MEMORY_GROWTH] = { .name = "max-memory-growth", .argument = "SHARE", .kind = FM_OPTION_SHARE,
        .group = FM_GROUP_GATE, .commands = COMPARE, AT(max_memory_growth_ppm), .text = "2%", .lo = 0, .hi = 1000000000,
        .no_range = true, .help = "growth of peak memory that is tolerated" },
    [FM_OPTION_HISTORY] = { .name = "history", .argument = "FILE", .kind = FM_OPTION_PATH, .group = FM_GROUP_GATE,
        .commands = COMPARE, AT(history),
        .help = "how much samples/s move from night to night, from this history, is added to their error" },

    [FM_OPTION_ADD] = { .name = "add", .argument = "DIR", .kind = FM_OPTION_PATH, .group = FM_GROUP_OUTPUT, .commands = HISTORY,
        AT(add), .help = "add the run in this folder (once; the file is made if need be) instead of listing" },
    [FM_OPTION_VERDICT] = { .name = "verdict", .argument = "WORD", .kind = FM_OPTION_WORD, .group = FM_GROUP_OUTPUT,
        .commands = HISTORY, AT(verdict),
        .help = "with --add: what compare said of it: first (nothing to compare with), same, better, worse, undecided, "
                "incomparable" },
    [FM_OPTION_LAST_GOOD] = { .name = "last-good", .kind = FM_OPTION_SWITCH, .group = FM_GROUP_OUTPUT, .commands = HISTORY,
        AT(last_good), .help = "print the folder of the latest run that was first, same or better" },

    [FM_OPTION_FORMAT] = { .name = "format", .argument = "FORMAT", .kind = FM_OPTION_WORD, .group = FM_GROUP_OUTPUT,
        .commands = REPORT | EXPORT, AT(format),
        .help = "report: text (the default), markdown, csv, json, junit, svg (the Pareto chart), html (a page that needs no "
                "network), or bigger, smaller: for "
                "github-action-benchmark's customBiggerIsBetter and customSmallerIsBetter; export: lightning, "
                "lightning-python, monai, argparse, dataclass, "
                "mmcv, mmengine, hydra, hf, accelerate, deepspeed, nnunet, env, json, template" },
    [FM_OPTION_LARGEST] = { .name = "largest", .kind = FM_OPTION_SWITCH, .group = FM_GROUP_OUTPUT, .commands = EXPORT,
        AT(largest), .help = "the largest batch that fits, instead of the knee" },
    [FM_OPTION_INTO] = { .name = "into", .argument = "FILE", .kind = FM_OPTION_PATH, .group = FM_GROUP_OUTPUT,
        .commands = EXPORT, AT(into),
        .help = "set the keys in this YAML or JSON file, every other byte stays; default: a new file on standard output" },
    [FM_OPTION_DRY_RUN] = { .name = "dry-run", .kind = FM_OPTION_SWITCH, .group = FM_GROUP_OUTPUT, .commands = EXPORT,
        AT(dry_run), .help = "with --into: print what would change, as a unified diff, and change nothing" },
    [FM_OPTION_TEMPLATE] = { .name = "template", .argument = "FILE", .kind = FM_OPTION_PATH, .group = FM_GROUP_OUTPUT,
        .commands = EXPORT, AT(template), .help = "with --format template: a file with {{names}}; all names: --format json" },
    [FM_OPTION_OUT] = { .name = "out", .argument = "DIR", .kind = FM_OPTION_PATH, .group = FM_GROUP_OUTPUT,
        .commands = RUN | PLAN, AT(out),
        .help = "folder of journal and results; default: of run a new one, named in the output, of plan none" },
    [FM_OPTION_RESUME] = { .name = "resume", .kind = FM_OPTION_SWITCH, .group = FM_GROUP_OUTPUT, .commands = RUN | PLAN,
        AT(resume), .help = "go on with the interrupted run in --out" },
    [FM_OPTION_LAYERS] = { .name = "layers", .kind = FM_OPTION_SWITCH, .group = FM_GROUP_OUTPUT,
        .commands = SHOW_WORKLOAD, AT(layers), .help = "one row a layer: shapes, parameters, multiply-accumulates" },
    [FM_OPTION_YAML] = { .name = "yaml", .kind = FM_OPTION_SWITCH, .group = FM_GROUP_OUTPUT, .commands = SHOW_WORKLOAD,
        AT(yaml), .help = "the network's graph as YAML" },
    [FM_OPTION_JSON] = { .name = "json", .kind = FM_OPTION_SWITCH, .group = FM_GROUP_OUTPUT,
        .commands = RUN | PLAN | SHOW_WORKLOADS | SHOW_WORKLOAD | SHOW_DEVICES | DEVICES | REPORT | COMPARE | HISTORY | ADVISE |
                    EXPLAIN, AT(json),
        .help = "JSON on standard output instead of tables" },
};

const struct fm_command_row fm_commands[FM_COMMAND_COUNT] = {
    [FM_COMMAND_RUN] = { "run", "[CONFIG.yaml]",
        "find the largest batch of each cell on the devices, measure it, rank", 0, 1, NULL },
    [FM_COMMAND_PLAN] = { "plan", "[CONFIG.yaml]",
        "the same by calculation: memory, its breakdown, the largest batch", 0, 1, NULL },
    [FM_COMMAND_SHOW_WORKLOADS] = { "show workloads", "", "the networks that can be trained", 0, 0, NULL },
    [FM_COMMAND_SHOW_WORKLOAD] = { "show workload", "NAME", "one network: settings, parameters, blocks, layers", 1, 1,
        "which? (fillmark show workloads lists them)" },
    [FM_COMMAND_SHOW_DEVICES] = { "show devices", "", "the GPUs that can be planned for without having them", 0, 0, NULL },
    [FM_COMMAND_DEVICES] = { "devices", "", "what is here, free and total memory, what would spoil a measurement", 0, 0, NULL },
    [FM_COMMAND_REPORT] = { "report", "DIR", "the tables of a finished or interrupted run, from its journal", 1, 1,
        "which run? (fillmark report DIR)" },
    [FM_COMMAND_COMPARE] = { "compare", "BASE NEW",
        "is the run in folder NEW worse than the one in BASE? The exit code tells", 2, 2, "which two runs? (fillmark compare BASE NEW)" },
    [FM_COMMAND_HISTORY] = { "history", "FILE",
        "what many nights say: how each figure moves, and the night from which on it is another one", 1, 1,
        "which file? (fillmark history FILE)" },
    [FM_COMMAND_EXPORT] = { "export", "[DIR]",
        "the best configuration of a workload, in the words of a training framework; without a run, from plans", 0, 1, NULL },
    [FM_COMMAND_ADVISE] = { "advise", "[DIR]",
        "which configuration to train with, from a run, or without one from plans", 0, 1, NULL },
    [FM_COMMAND_EXPLAIN] = { "explain", "[FILE]",
        "what an out-of-memory message says, and which tensor of a network it was", 0, 1, NULL },
    [FM_COMMAND_HELP] = { "help", "[COMMAND]", "this text, or that of a command", 0, 0, NULL },
};

/* Largest batches between about 2 and 40 in fm_options_memory_auto(), over all cells of the default campaign. */
const struct fm_default_set fm_default_sets[] = {
    { "denseunet3d", "base_channels", "4" },
    { "denseunet3d", "levels", "3" },
    { "denseunet3d", "input", "32x32x32" },
    { "segformer", "input", "128x128" },
};
const size_t fm_default_set_count = sizeof fm_default_sets / sizeof fm_default_sets[0];

int64_t fm_options_memory_auto(const struct fm_options *options)
{
    return options->origin[FM_OPTION_WORKLOAD] == FM_ORIGIN_DEFAULT ? INT64_C(256) << 20 : INT64_C(2) << 30;
}

bool fm_option_of(enum fm_option_id id, enum fm_command command)
{
    return fm_option_table[id].commands >> command & 1;
}

bool fm_option_in_file(enum fm_option_id id, enum fm_command command)
{
    return (fm_option_table[id].commands | fm_option_table[id].files_only) >> command & 1;
}

bool fm_option_is_list(enum fm_option_id id)
{
    switch (fm_option_table[id].kind) {
    case FM_OPTION_DEVICES: case FM_OPTION_WORKLOADS: case FM_OPTION_CELLS: case FM_OPTION_SETTING: return true;
    case FM_OPTION_STRATEGY: return !fm_option_table[id].single;
    case FM_OPTION_SWITCH: case FM_OPTION_INTEGER: case FM_OPTION_BYTES: case FM_OPTION_DURATION:
    case FM_OPTION_SHARE:
    case FM_OPTION_METHOD: case FM_OPTION_PATH: case FM_OPTION_WORD: break;
    }
    return false;
}

const char *fm_option_default(enum fm_option_id id)
{
    const struct fm_option *o = &fm_option_table[id];
    const char *text = o->kind == FM_OPTION_STRATEGY ? fm_strategies[o->strategy]->text : o->text;
    return text ? text : "";
}

enum fm_option_id fm_option_find(const char *name, size_t bytes)
{
    for (int i = 0; i < FM_OPTION_COUNT; i++)
        if (strlen(fm_option_table[i].name) == bytes && memcmp(fm_option_table[i].name, name, bytes) == 0)
            return (enum fm_option_id)i;
    return FM_OPTION_COUNT;
}

const char *fm_option_nearest(const char *name, enum fm_command command)
{
    const char *names[FM_OPTION_COUNT];
    size_t n = 0;
    for (int i = 0; i < FM_OPTION_COUNT; i++)
        if (fm_option_of((enum fm_option_id)i, command)) names[n++] = fm_option_table[i].name;
    return fm_nearest(name, names, n);
}

size_t fm_command_names(const char *names[FM_COMMAND_COUNT], char words[FM_COMMAND_COUNT][16])
{
    size_t n = 0;
    for (int i = 0; i < FM_COMMAND_COUNT; i++) {
        if (!fm_commands[i].name) continue;
        (void)snprintf(words[n], sizeof words[n], "%.*s", (int)strcspn(fm_commands[i].name, " "), fm_commands[i].name);
        if (n && strcmp(words[n], words[n - 1]) == 0) continue;
        names[n] = words[n];
        n++;
    }
    return n;
}

void fm_command_words(struct fm_buf *out)
{
    const char *names[FM_COMMAND_COUNT];
    char words[FM_COMMAND_COUNT][16];
    size_t n = fm_command_names(names, words);
    for (size_t i = 0; i < n; i++) fm_buf_printf(out, "%s%s", i ? ", " : "", names[i]);
}
