/* The workloads: one file a network, one row here.
 *
 * A workload has settings (--set key=value); a setting that changes what the network computes belongs to its
 * model_id. Two settings are also axes of every run: the channel scale and the input size (strategies). */
#ifndef FM_WORKLOADS_NETS_NETS_H
#define FM_WORKLOADS_NETS_NETS_H

#include "tuner/base/buf.h"
#include "workloads/graph/graph.h"

#define FM_MAX_SETTINGS 12
#define FM_SETTING_TEXT_BYTES 48

enum fm_setting_kind { FM_SETTING_INT, FM_SETTING_REAL, FM_SETTING_CHOICE, FM_SETTING_SIZE };

struct fm_setting {
    const char *name, *help, *text;     /* text: the default */
    enum fm_setting_kind kind;
    double lo, hi;                      /* INT, REAL */
    const char *choices;                /* CHOICE: comma list */
    uint32_t dims;                      /* SIZE: how many */
    bool validation_only;               /* does not change the model */
};

struct fm_setting_value {
    char text[FM_SETTING_TEXT_BYTES];
    int64_t number;                     /* INT; CHOICE: its index */
    double real;                        /* REAL */
    int64_t size[3];                    /* SIZE */
};

struct fm_workload;

struct fm_settings {
    const struct fm_workload *workload;
    struct fm_setting_value value[FM_MAX_SETTINGS];
    int32_t channels_numerator, channels_denominator;       /* the channels strategy; 1/1 */
    bool flash_attention;                                   /* the attention strategy; false: products and a softmax */
};

struct fm_workload {
    const char *name, *title;
    const char *sample;                                     /* what a sample is: "volume", "image" */
    const struct fm_setting *setting;
    uint32_t settings;
    bool attention;                                         /* has some that can be one kernel */
    const char *optimizer;                                  /* as published: "adamw", "adamw-amsgrad" */
    double lr, weight_decay;
    fm_status (*build)(const struct fm_settings *settings, int64_t train_batch, int64_t val_batch, struct fm_graph *out,
                       struct fm_err *err);
};

extern const struct fm_workload *const fm_workloads[];
extern const size_t fm_workload_count;

/* NULL and FM_INVALID with the nearest name */
const struct fm_workload *fm_workload_find(const char *name, struct fm_err *err);
void fm_settings_default(struct fm_settings *settings, const struct fm_workload *workload);
fm_status fm_settings_set(struct fm_settings *settings, const char *key, const char *value, struct fm_err *err) FM_MUST_USE;
const struct fm_setting_value *fm_setting_get(const struct fm_settings *settings, const char *key);
/* "16" scaled by the channels strategy, rounded down; 0: too few, which is no network */
int fm_settings_channels(const struct fm_settings *settings, int channels);
/* "base_channels=16 classes=71 ..." in table order: what model_id is made of (validation-only settings left out) */
void fm_settings_model(const struct fm_settings *settings, struct fm_buf *out);
/* builds a graph; val_batch 0: no validation body */
fm_status fm_settings_build(const struct fm_settings *settings, int64_t train_batch, int64_t val_batch, struct fm_graph *out,
                            struct fm_err *err) FM_MUST_USE;

extern const struct fm_workload fm_denseunet3d, fm_segformer;

#endif
