/* The command line and the configuration file of fillmark: what the user asked for, checked.
 *
 * One table (table.h) feeds the parser, --help, the keys of the YAML file and the man page. A flag overrides
 * the same key of the file. Everything unknown, given twice, out of range or with something behind it is FM_INVALID
 * (exit code 2) with the place, what is wrong and the nearest valid name:
 *
 *     --precision: unknown value 'fp23'; did you mean 'fp32'? (fp32,tf32,fp16,bf16)
 *     config.yaml:14:16: checkpoint: unknown value 'block'; did you mean 'blocks'? (...)
 *
 * Axes are lists: cells are the product of workloads, settings and strategy values. What is in the lists is canonical
 * ("0.5" and "2/4" are "1/2") and each value is there once.
 *
 * What is not given (also printed by --help):
 *   without a workload, all of them, at sizes that fit small memories; a workload that is named has its published sizes
 *   without workload, set and strategies, a default campaign over several strategies; else each strategy's default
 *   with --resume, what the journal in --out recorded
 *
 *     struct fm_options options;
 *     status = fm_options_parse(argc, argv, &options, &err);       // always followed by a release
 *     if (status == FM_OK && fm_options_prints(options.command)) status = fm_options_print(&options, &text, &err);
 *     fm_options_release(&options);
 */
#ifndef FM_TUNER_OPTIONS_H
#define FM_TUNER_OPTIONS_H

#include "tuner/base/buf.h"
#include "tuner/search/search.h"
#include "workloads/strategies/strategies.h"

#define FM_LIST_MAX 64                  /* values of one axis */
#define FM_OPERANDS_MAX 2
#define FM_CELLS_MAX 10000              /* a device */

enum fm_command {
    FM_COMMAND_RUN, FM_COMMAND_PLAN, FM_COMMAND_SHOW_WORKLOADS, FM_COMMAND_SHOW_WORKLOAD, FM_COMMAND_SHOW_DEVICES,
    FM_COMMAND_DEVICES,
    FM_COMMAND_REPORT, FM_COMMAND_COMPARE, FM_COMMAND_HISTORY, FM_COMMAND_EXPORT, FM_COMMAND_ADVISE, FM_COMMAND_EXPLAIN,
    FM_COMMAND_HELP, FM_COMMAND_VERSION, FM_COMMAND_MAN, FM_COMMAND_COMPLETION, FM_COMMAND_COUNT
};

/* in the order of help */
enum fm_option_id {
    FM_OPTION_WORKLOAD, FM_OPTION_SET,
    FM_OPTION_PRECISION, FM_OPTION_MEMORY_FORMAT, FM_OPTION_ATTENTION, FM_OPTION_CHECKPOINT, FM_OPTION_CHANNELS, FM_OPTION_ACCUMULATE, FM_OPTION_OPTIMIZER,
    FM_OPTION_OPTIMIZER_FORM, FM_OPTION_ZERO_GRAD, FM_OPTION_CUDNN_BENCHMARK, FM_OPTION_VAL_BATCH, FM_OPTION_LOOP, FM_OPTION_ACCOUNTING,
    FM_OPTION_DEVICE, FM_OPTION_DEVICE_FILE, FM_OPTION_CALIBRATE, FM_OPTION_MEMORY, FM_OPTION_THREADS, FM_OPTION_SHARED,
    FM_OPTION_SEARCH, FM_OPTION_MAX_BATCH, FM_OPTION_BATCH, FM_OPTION_TIME_BUDGET, FM_OPTION_DEADLINE,
    FM_OPTION_LAUNCHES, FM_OPTION_SEED, FM_OPTION_POISON, FM_OPTION_ONLY,
    FM_OPTION_TARGET_GLOBAL_BATCH, FM_OPTION_DEVICE_COUNT, FM_OPTION_HEADROOM, FM_OPTION_MAX_MEMORY, FM_OPTION_ALLOW,
    FM_OPTION_OBJECTIVE, FM_OPTION_BASE_LR, FM_OPTION_BASE_BATCH, FM_OPTION_LR_RULE, FM_OPTION_SAMPLES_PER_EPOCH,
    FM_OPTION_MAX_SLOWDOWN, FM_OPTION_MAX_MEMORY_GROWTH, FM_OPTION_HISTORY,
    FM_OPTION_ADD, FM_OPTION_VERDICT, FM_OPTION_LAST_GOOD,
    FM_OPTION_FORMAT, FM_OPTION_LARGEST, FM_OPTION_INTO, FM_OPTION_DRY_RUN, FM_OPTION_TEMPLATE,
    FM_OPTION_OUT, FM_OPTION_RESUME, FM_OPTION_LAYERS, FM_OPTION_YAML, FM_OPTION_JSON,
    FM_OPTION_COUNT
};

enum fm_completion { FM_COMPLETION_BASH, FM_COMPLETION_ZSH, FM_COMPLETION_FISH, FM_COMPLETION_COUNT };
extern const char *const fm_completion_shells[FM_COMPLETION_COUNT];

enum fm_origin { FM_ORIGIN_DEFAULT, FM_ORIGIN_RECORD, FM_ORIGIN_FILE, FM_ORIGIN_FLAG };     /* the stronger, the later */

struct fm_texts { char **item; size_t count, capacity; };           /* owned */

/* values of one setting of one chosen workload; more than one: an axis */
struct fm_set {
    const struct fm_workload *workload;
    const char *key;                    /* borrowed from the workload */
    struct fm_texts values;
};

struct fm_options {
    enum fm_command command;
    enum fm_command topic;              /* of HELP and MAN; FM_COMMAND_HELP: the whole program */
    enum fm_origin origin[FM_OPTION_COUNT];
    enum fm_completion shell;           /* of COMPLETION */
    char *config;                       /* path of the YAML file; NULL: none */
    char *operand[FM_OPERANDS_MAX];     /* what stands beside the options of other commands, in order; NULL: not given */

    struct fm_texts workload;           /* names; SHOW_WORKLOAD: one */
    struct fm_set *set;                 /* by workload, in its table's order; those not here have their defaults */
    size_t set_count, set_capacity;
    struct fm_texts strategy[FM_STRATEGY_COUNT];    /* optimizer is empty when it is each workload's own */
    struct fm_texts device;             /* "cpu", "ref", "cuda:N", "GPU-...", PLAN: "rtx4090", ...; or "all", "none" alone */
    struct fm_texts only;               /* hexadecimal beginnings of cell ids; empty: all cells */

    int64_t memory_bytes;               /* 0: each device's default */
    int64_t threads;                    /* 0: the device decides */
    enum fm_search_method search;
    int64_t max_batch;                  /* FM_SEARCH_BATCH_LIMIT: not limited */
    int64_t batch;                      /* PLAN: 0: find the largest */
    int64_t time_budget_ns;             /* 0: not limited */
    int64_t deadline_ns;                /* of one probe */
    int64_t launches;                   /* worker launches behind a throughput figure */
    int64_t seed;
    int64_t max_slowdown_ppm, max_memory_growth_ppm;    /* COMPARE */
    char *history;                      /* COMPARE: path; NULL: none */
    char *add, *verdict;                /* HISTORY: a run's folder, what compare said of it; NULL: not given */
    bool last_good;                     /* HISTORY */
    bool shared;                        /* time also where others use the device */
    bool poison, resume, layers, yaml, json;
    bool largest, dry_run;              /* EXPORT */
    int64_t target_global_batch, devices, max_memory_bytes, base_batch, samples_per_epoch;     /* ADVISE; 0: none */
    char *headroom, *allow, *objective, *base_lr, *lr_rule;     /* ADVISE, as given */
    char *device_file;                  /* a table of devices that adds to the built-in one; NULL: none */
    char *calibrate;                    /* PLAN: a run's folder; NULL: none */
    char *out;                          /* NULL: the command names a new folder */
    char *format;                       /* REPORT, EXPORT; NULL: not given */
    char *into, *template;              /* EXPORT: paths; NULL: not given */
};

/* Also reads the YAML file. `out` is set in every case. FM_INVALID; FM_IO if the file cannot be read; FM_NOMEM. */
fm_status fm_options_parse(int argc, char **argv, struct fm_options *out, struct fm_err *err) FM_MUST_USE;
void fm_options_release(struct fm_options *options);

/* the most that `--memory auto` takes of the CPU: less at the sizes for small memories */
int64_t fm_options_memory_auto(const struct fm_options *options);

/* Commands that only print a text: HELP, VERSION, MAN and COMPLETION. FM_NOMEM when it does not fit into `out`. */
bool fm_options_prints(enum fm_command command);
fm_status fm_options_print(const struct fm_options *options, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;
/* help of one command, or of the program for FM_COMMAND_HELP; at most 100 columns */
void fm_options_help(enum fm_command command, struct fm_buf *out);
/* the completion of a shell: commands, their options, values that can be listed */
void fm_options_completion(enum fm_completion shell, struct fm_buf *out);
/* The man page fillmark(1) for FM_COMMAND_HELP, else that of a command's first word, as fillmark-show(1); roff with man
 * macros. */
void fm_options_man(enum fm_command topic, struct fm_buf *out);

/* The effective configuration of a command, for the journal: each pair is also a flag, `--key value` (true: `--key`),
 * and the pairs together parse to the same options. Settings are "set.WORKLOAD.KEY", for `--set WORKLOAD.KEY=value`.
 * What is unset is absent. Texts are borrowed during the call. Stops at the first status that is not FM_OK and returns
 * it. */
typedef fm_status (*fm_options_pair)(void *context, const char *key, const char *value);
fm_status fm_options_echo(const struct fm_options *options, fm_options_pair pair, void *context) FM_MUST_USE;

#endif
