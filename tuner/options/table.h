/* The option table: one row an option, from which parser, help, YAML keys, man page and echo are made. Within tuner. */
#ifndef FM_TUNER_OPTIONS_TABLE_H
#define FM_TUNER_OPTIONS_TABLE_H

#include "tuner/options/options.h"

enum fm_option_kind {
    FM_OPTION_SWITCH,               /* bool */
    FM_OPTION_INTEGER,              /* int64_t, as the next two */
    FM_OPTION_BYTES, FM_OPTION_DURATION,
    FM_OPTION_SHARE,                /* int64_t, parts per million: "5%", "0.5%" */
    FM_OPTION_METHOD,               /* the search */
    FM_OPTION_PATH, FM_OPTION_WORD, /* char *, owned; a word is checked by the command that knows it */
    FM_OPTION_DEVICES, FM_OPTION_WORKLOADS, FM_OPTION_CELLS,    /* struct fm_texts */
    FM_OPTION_STRATEGY,             /* fm_strategies[strategy] checks it and says what it is */
    FM_OPTION_SETTING               /* key=value */
};

enum fm_option_group {
    FM_GROUP_WORKLOADS, FM_GROUP_STRATEGIES, FM_GROUP_DEVICE, FM_GROUP_SEARCH, FM_GROUP_ADVICE, FM_GROUP_GATE, FM_GROUP_OUTPUT, FM_GROUP_COUNT
};

struct fm_option {
    const char *name, *argument;    /* argument: as help shows it; NULL for a switch */
    const char *help;               /* NULL: the strategy's */
    const char *text;               /* the default, in words the parser takes; NULL: none, or the strategy's */
    const char *word;               /* stands for `word_value`: "none", "auto" */
    const char *campaign;           /* values in the default campaign */
    enum fm_option_kind kind;
    enum fm_option_group group;
    enum fm_strategy_id strategy;
    bool single;                    /* one value, not an axis */
    bool no_range;                  /* help does not show lo and hi */
    bool of_the_run;                /* says which cells or how long in all: not of a cell's own command */
    unsigned commands;              /* bits, 1 << command */
    unsigned files_only;            /* the same: commands whose CONFIG.yaml may hold it, unused, for another command */
    size_t offset;                  /* in struct fm_options */
    int64_t lo, hi, word_value;     /* durations in ns */
};

extern const struct fm_option fm_option_table[FM_OPTION_COUNT];
extern const char *const fm_option_groups[FM_GROUP_COUNT];

struct fm_command_row {
    const char *name, *arguments;   /* "show workload", "NAME"; NULL: not a word of the command line */
    const char *help;
    int operands_min, operands_max; /* into fm_options.operand, at most FM_OPERANDS_MAX */
    const char *missing;            /* asks for the operand that is not there: "which run? (fillmark report DIR)" */
};
/* "run, plan, show, ...": each first word once; for messages */
void fm_command_words(struct fm_buf *out);
/* as names, for fm_nearest(); returns how many, at most FM_COMMAND_COUNT */
size_t fm_command_names(const char *names[FM_COMMAND_COUNT], char words[FM_COMMAND_COUNT][16]);
extern const struct fm_command_row fm_commands[FM_COMMAND_COUNT];

/* settings where no workload is named: sizes for small memories */
struct fm_default_set { const char *workload, *key, *values; };
extern const struct fm_default_set fm_default_sets[];
extern const size_t fm_default_set_count;

bool fm_option_of(enum fm_option_id id, enum fm_command command);
/* may its CONFIG.yaml hold it? Values are checked whether they are used or not. */
bool fm_option_in_file(enum fm_option_id id, enum fm_command command);
/* takes more than one value, separated by commas */
bool fm_option_is_list(enum fm_option_id id);
/* the default as help shows it; "" if there is none */
const char *fm_option_default(enum fm_option_id id);
/* "text [values or range; default x]" */
void fm_option_describe(enum fm_option_id id, struct fm_buf *out);
/* FM_OPTION_COUNT if there is none of that name */
enum fm_option_id fm_option_find(const char *name, size_t bytes);
/* the nearest name among a command's options, or NULL */
const char *fm_option_nearest(const char *name, enum fm_command command);

/* what every page says: the program in a line, lists and cells, the default campaign */
#define FM_ABOUT_CELLS 2
extern const char fm_summary[];
extern const char *const fm_about_cells[FM_ABOUT_CELLS];
void fm_campaign_text(struct fm_buf *out);

/* What the man page of a command has beyond its options. One page a first word: "show" is one. Ends of lists are NULL. */
#define FM_PAGE_ITEMS 8
struct fm_page {
    const char *word, *name;                    /* name: what NAME says; NULL: the command's help */
    const char *about[FM_PAGE_ITEMS];           /* paragraphs */
    const char *examples[FM_PAGE_ITEMS][2];     /* command line, what it does; each is carried out by tests/cli/docs.sh */
    const char *files[FM_PAGE_ITEMS][2];
    const char *codes[FM_PAGE_ITEMS][2];        /* exit codes that mean more than their text says */
};
extern const struct fm_page fm_pages[];
extern const size_t fm_page_count;

#endif
