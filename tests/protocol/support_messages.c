#include "tests/protocol/support_messages.h"

#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#include <math.h>
#include <string.h>

uint64_t fm_draw_u64(struct fm_draw *draw)
{
    return fm_rng_u64(draw->seed, 7, draw->index++);
}

uint64_t fm_draw_below(struct fm_draw *draw, uint64_t limit)
{
    return fm_draw_u64(draw) % limit;
}

static bool coin(struct fm_draw *draw)
{
    return fm_draw_below(draw, 2) == 1;
}

/* of any magnitude: small ones, both sides of 2^53, the largest */
static int64_t any_int(struct fm_draw *draw, int64_t min, int64_t max)
{
    uint64_t span = (uint64_t)max - (uint64_t)min, value = fm_draw_u64(draw) >> fm_draw_below(draw, 64);
    switch (fm_draw_below(draw, 8)) {
    case 0: value = 0; break;
    case 1: value = span; break;
    case 2: value = (UINT64_C(1) << 53) + fm_draw_below(draw, 5) - 2; break;
    default: break;
    }
    if (span != UINT64_MAX) value %= span + 1;
    return (int64_t)((uint64_t)min + value);
}

static double any_double(struct fm_draw *draw)
{
    double value = fm_rng_uniform_f64(draw->seed, 11, draw->index++);
    return ldexp(value - 0.5, (int)fm_draw_below(draw, 200) - 100);
}

/* text of min ... room - 1 bytes, of characters that need escaping and of several bytes among others */
static void any_text(struct fm_draw *draw, size_t min, char *out, size_t room)
{
    static const char *const piece[] = { "a",
                                         "Z",
                                         "7",
                                         " ",
                                         "\"",
                                         "\\",
                                         "/",
                                         "\n",
                                         "\t",
                                         "\x01",
                                         "\x7f",
                                         "{",
                                         "]",
                                         ",",
                                         ":",
                                         "u0000",
                                         "\xc3\xa9",
                                         "\xe2\x82\xac",
                                         "\xf0\x9f\x98\x80",
                                         "\xef\xbf\xbf",
                                         "\xed\x9f\xbf" };
    size_t want = fm_draw_below(draw, 4) ? min + fm_draw_below(draw, room - min) : room - 1, n = 0;
    while (n < want) {
        const char *text = piece[fm_draw_below(draw, sizeof piece / sizeof piece[0])];
        size_t bytes = strlen(text);
        if (n + bytes > want) text = "x", bytes = 1;
        memcpy(out + n, text, bytes);
        n += bytes;
    }
    out[n] = '\0';
}

static void any_pairs(struct fm_draw *draw, struct fm_pairs *out)
{
    uint32_t want = (uint32_t)fm_draw_below(draw, FM_MAX_PAIRS + 1);
    while (out->count < want) {
        char key[40], value[FM_PAIR_BYTES];
        any_text(draw, 1, key, sizeof key);
        any_text(draw, 0, value, sizeof value);
        (void)fm_pairs_set(out, key, value);
    }
}

void fm_random_request(struct fm_draw *draw, enum fm_request_kind kind, struct fm_request *out)
{
    memset(out, 0, sizeof *out);
    out->id = any_int(draw, 0, INT64_MAX);
    out->kind = kind;
    if (kind == FM_REQUEST_INVENTORY) return;
    any_text(draw, 1, out->cell.workload, sizeof out->cell.workload);
    any_pairs(draw, &out->cell.set);
    any_pairs(draw, &out->cell.strategies);
    out->batch = any_int(draw, 1, FM_MAX_BATCH);
    out->val_batch = any_int(draw, 0, FM_MAX_BATCH);
    if (coin(draw) && out->val_batch) out->batch = 0;
    if (kind == FM_REQUEST_WORKSPACES) {
        size_t keys = fm_draw_below(draw, 20);
        out->key = fm_calloc(keys, sizeof *out->key);
        for (; out->key && out->keys < keys; out->keys++) out->key[out->keys] = fm_draw_u64(draw);
        return;
    }
    out->program = fm_draw_u64(draw);
    out->memory_bytes = any_int(draw, 1, INT64_MAX);
    out->seed = fm_draw_u64(draw);
    out->deadline_ms = any_int(draw, 0, 1000000000000);
    out->train_steps = (uint32_t)any_int(draw, 0, 1000000);
    out->val_steps = (uint32_t)any_int(draw, 0, 1000000);
    out->tail_steps = (uint32_t)any_int(draw, 0, 1000000);
    out->measured_min = (uint32_t)any_int(draw, 0, FM_MAX_STEPS_KEPT);
    out->measured_max = (uint32_t)any_int(draw, 0, FM_MAX_STEPS_KEPT);
    out->measured_max_ms = any_int(draw, 0, 1000000000000);
    out->relative_error = fm_rng_uniform_f64(draw->seed, 3, draw->index++);
    out->fixed_batch = coin(draw);
    out->poison = coin(draw);
    out->shared = coin(draw);
}

static void any_measured(struct fm_draw *draw, struct fm_measured *out)
{
    out->known = true;
    out->allocated_bytes = any_int(draw, 0, INT64_MAX);
    out->reserved_bytes = any_int(draw, 0, INT64_MAX);
    out->counted_bytes = any_int(draw, 0, INT64_MAX);
    out->workspace_bytes = any_int(draw, 0, INT64_MAX);
    for (int i = 0; i < FM_BREAKDOWN_ROWS; i++) out->breakdown_bytes[i] = any_int(draw, 0, INT64_MAX);
    out->steps = (uint32_t)any_int(draw, 0, UINT32_MAX);
    out->step_count = (uint32_t)(fm_draw_below(draw, 50) ? fm_draw_below(draw, 30) : FM_MAX_STEPS_KEPT);
    for (uint32_t i = 0; i < out->step_count; i++) out->step_ns[i] = any_int(draw, 0, INT64_MAX);
    out->marked = coin(draw);
    for (uint32_t i = 0; out->marked && i < out->step_count; i++)
        if (coin(draw)) out->throttled[out->throttled_count++] = i;
    if (coin(draw)) out->loss_first = any_double(draw);
    if (coin(draw)) out->loss_last = any_double(draw);
}

static void any_state(struct fm_draw *draw, struct fm_reply *out)
{
    struct fm_reply_state *s = &out->state;
    int32_t *const field[] = { &s->sm_mhz_min, &s->sm_mhz_median, &s->memory_mhz_min, &s->memory_mhz_median, &s->power_mw_median,
                               &s->power_mw_max, &s->temperature_c_median, &s->temperature_c_max, &s->others };
    any_text(draw, 0, out->untimed, sizeof out->untimed);
    out->watched = coin(draw);
    if (!out->watched) return;
    s->looks = (uint32_t)any_int(draw, 0, UINT32_MAX);
    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        if (coin(draw)) *field[i] = (int32_t)any_int(draw, 0, INT32_MAX);
    any_text(draw, 0, s->slow, sizeof s->slow);
    any_text(draw, 0, s->note, sizeof s->note);
}

static bool same_state(const struct fm_reply *a, const struct fm_reply *b)
{
    const struct fm_reply_state *x = &a->state, *y = &b->state;
    return strcmp(a->untimed, b->untimed) == 0 && a->watched == b->watched && x->looks == y->looks && x->sm_mhz_min == y->sm_mhz_min &&
           x->sm_mhz_median == y->sm_mhz_median && x->memory_mhz_min == y->memory_mhz_min &&
           x->memory_mhz_median == y->memory_mhz_median && x->power_mw_median == y->power_mw_median &&
           x->power_mw_max == y->power_mw_max && x->temperature_c_median == y->temperature_c_median &&
           x->temperature_c_max == y->temperature_c_max && x->others == y->others && strcmp(x->slow, y->slow) == 0 &&
           strcmp(x->note, y->note) == 0;
}

static void any_answers(struct fm_draw *draw, struct fm_reply *out)
{
    size_t answers = fm_draw_below(draw, 12);
    out->answer = fm_calloc(answers, sizeof *out->answer);
    for (; out->answer && out->answers < answers; out->answers++) {
        struct fm_answer *answer = &out->answer[out->answers];
        answer->key = fm_draw_u64(draw);
        answer->unsupported = coin(draw);
        any_text(draw, 0, answer->reason, sizeof answer->reason);
        answer->kept_bytes = any_int(draw, 0, INT64_MAX);
        answer->count = (uint32_t)fm_draw_below(draw, FM_ANSWER_CANDIDATES + 1);
        for (uint32_t i = 0; i < answer->count; i++) {
            answer->candidate[i].bytes = any_int(draw, 0, INT64_MAX);
            any_text(draw, 0, answer->candidate[i].what, sizeof answer->candidate[i].what);
        }
    }
}

static void any_holders(struct fm_draw *draw, struct fm_reply *out)
{
    out->holders = (uint32_t)any_int(draw, 0, FM_MAX_REPLY_HOLDERS);
    for (uint32_t i = 0; i < out->holders; i++) {
        out->holder[i].pid = any_int(draw, 0, INT64_MAX);
        out->holder[i].bytes = coin(draw) ? any_int(draw, 0, INT64_MAX) : -1;
        any_text(draw, 0, out->holder[i].name, sizeof out->holder[i].name);
    }
}

/* what an inventory tells of, be there a device or not */
static void any_software(struct fm_draw *draw, struct fm_reply *out)
{
    out->softwares = (uint32_t)any_int(draw, 0, FM_MAX_REPLY_SOFTWARE);
    for (uint32_t i = 0; i < out->softwares; i++) {
        any_text(draw, 1, out->software[i].name, sizeof out->software[i].name);
        any_text(draw, 0, out->software[i].version, sizeof out->software[i].version);
        any_text(draw, 0, out->software[i].cuda, sizeof out->software[i].cuda);
        any_text(draw, 0, out->software[i].path, sizeof out->software[i].path);
        any_text(draw, 0, out->software[i].absent, sizeof out->software[i].absent);
    }
    out->findings = (uint32_t)any_int(draw, 0, FM_MAX_REPLY_FINDINGS);
    for (uint32_t i = 0; i < out->findings; i++) {
        any_text(draw, 1, out->finding[i].what, sizeof out->finding[i].what);
        any_text(draw, 0, out->finding[i].remedy, sizeof out->finding[i].remedy);
    }
}

/* what a device says of itself beside its memory */
static void any_notes(struct fm_draw *draw, struct fm_reply *out)
{
    if (coin(draw)) out->device_count = (int32_t)any_int(draw, 0, INT32_MAX);
    if (coin(draw)) out->device_framework_bytes = any_int(draw, 0, INT64_MAX);
    any_text(draw, 0, out->device_facts, sizeof out->device_facts);
    any_software(draw, out);
    any_holders(draw, out);
}

void fm_random_reply(struct fm_draw *draw, enum fm_request_kind kind, enum fm_outcome outcome, struct fm_reply *out)
{
    fm_reply_init(out);
    out->id = any_int(draw, 0, INT64_MAX);
    out->kind = kind;
    out->outcome = outcome;
    any_text(draw, 0, out->reason, sizeof out->reason);
    if (kind == FM_REQUEST_INVENTORY && outcome == FM_OUTCOME_ok) {
        any_text(draw, 1, out->device_id, sizeof out->device_id);
        any_text(draw, 1, out->device_name, sizeof out->device_name);
        any_text(draw, 0, out->device_isa, sizeof out->device_isa);
        any_text(draw, 0, out->device_library, sizeof out->device_library);
        any_text(draw, 0, out->device_driver, sizeof out->device_driver);
        any_text(draw, 0, out->device_uuid, sizeof out->device_uuid);
        if (coin(draw)) out->device_total_bytes = any_int(draw, 0, INT64_MAX);
        if (coin(draw)) out->device_free_bytes = any_int(draw, 0, INT64_MAX);
        out->device_threads = (int32_t)any_int(draw, 0, INT32_MAX);
        any_notes(draw, out);
    }
    if (kind == FM_REQUEST_INVENTORY && outcome != FM_OUTCOME_ok) any_software(draw, out);
    if (kind == FM_REQUEST_WORKSPACES && outcome == FM_OUTCOME_ok) any_answers(draw, out);
    if (kind != FM_REQUEST_PROBE) return;
    if (outcome == FM_OUTCOME_ok || coin(draw)) any_measured(draw, &out->train);
    if (coin(draw)) any_measured(draw, &out->val);
    out->program = fm_draw_u64(draw) | 1;
    out->failed_in_val = coin(draw);
    if (coin(draw)) {
        any_text(draw, 0, out->at_op, sizeof out->at_op);
        out->at_bytes = any_int(draw, 0, INT64_MAX);
        out->below_limit = coin(draw);
    }
    out->setup_ns = any_int(draw, 0, INT64_MAX);
    out->wall_ns = any_int(draw, 0, INT64_MAX);
    if (coin(draw)) out->rss_peak_bytes = any_int(draw, 0, INT64_MAX);
    any_text(draw, 0, out->stop_reason, sizeof out->stop_reason);
    any_state(draw, out);
    any_holders(draw, out);
}

/* ---- equal ---- */

static bool same_pairs(const struct fm_pairs *a, const struct fm_pairs *b)
{
    if (a->count != b->count) return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (strcmp(a->item[i].key, b->item[i].key) != 0 || strcmp(a->item[i].value, b->item[i].value) != 0)
            return false;
    return true;
}

static bool same_double(double a, double b)
{
    return (isnan(a) && isnan(b)) || (a >= b && a <= b);
}

bool fm_request_equal(const struct fm_request *a, const struct fm_request *b)
{
    return a->id == b->id && a->kind == b->kind && strcmp(a->cell.workload, b->cell.workload) == 0 &&
           same_pairs(&a->cell.set, &b->cell.set) && same_pairs(&a->cell.strategies, &b->cell.strategies) &&
           a->batch == b->batch && a->val_batch == b->val_batch && a->keys == b->keys &&
           (!a->keys || memcmp(a->key, b->key, a->keys * sizeof *a->key) == 0) && a->program == b->program &&
           a->memory_bytes == b->memory_bytes && a->seed == b->seed && a->deadline_ms == b->deadline_ms &&
           a->train_steps == b->train_steps && a->val_steps == b->val_steps && a->tail_steps == b->tail_steps && a->measured_min == b->measured_min &&
           a->measured_max == b->measured_max && a->measured_max_ms == b->measured_max_ms &&
           same_double(a->relative_error, b->relative_error) && a->fixed_batch == b->fixed_batch &&
           a->poison == b->poison && a->shared == b->shared;
}

static bool same_measured(const struct fm_measured *a, const struct fm_measured *b)
{
    return a->known == b->known && a->allocated_bytes == b->allocated_bytes && a->reserved_bytes == b->reserved_bytes &&
           a->counted_bytes == b->counted_bytes && a->workspace_bytes == b->workspace_bytes &&
           memcmp(a->breakdown_bytes, b->breakdown_bytes, sizeof a->breakdown_bytes) == 0 && a->steps == b->steps &&
           a->step_count == b->step_count &&
           memcmp(a->step_ns, b->step_ns, a->step_count * sizeof a->step_ns[0]) == 0 &&
           a->marked == b->marked && a->throttled_count == b->throttled_count &&
           memcmp(a->throttled, b->throttled, a->throttled_count * sizeof a->throttled[0]) == 0 &&
           same_double(a->loss_first, b->loss_first) && same_double(a->loss_last, b->loss_last);
}

static bool same_answer(const struct fm_answer *a, const struct fm_answer *b)
{
    bool same = a->key == b->key && a->unsupported == b->unsupported && strcmp(a->reason, b->reason) == 0 &&
                a->kept_bytes == b->kept_bytes && a->count == b->count;
    for (uint32_t i = 0; same && i < a->count; i++)
        same =
            a->candidate[i].bytes == b->candidate[i].bytes && strcmp(a->candidate[i].what, b->candidate[i].what) == 0;
    return same;
}

static bool same_notes(const struct fm_reply *a, const struct fm_reply *b)
{
    bool same = a->device_count == b->device_count && a->device_framework_bytes == b->device_framework_bytes &&
                strcmp(a->device_facts, b->device_facts) == 0 && a->findings == b->findings && a->holders == b->holders &&
                a->softwares == b->softwares;
    for (uint32_t i = 0; same && i < a->softwares; i++)
        same = strcmp(a->software[i].name, b->software[i].name) == 0 && strcmp(a->software[i].version, b->software[i].version) == 0 &&
               strcmp(a->software[i].cuda, b->software[i].cuda) == 0 && strcmp(a->software[i].path, b->software[i].path) == 0 &&
               strcmp(a->software[i].absent, b->software[i].absent) == 0;
    for (uint32_t i = 0; same && i < a->findings; i++)
        same = strcmp(a->finding[i].what, b->finding[i].what) == 0 && strcmp(a->finding[i].remedy, b->finding[i].remedy) == 0;
    for (uint32_t i = 0; same && i < a->holders; i++)
        same = a->holder[i].pid == b->holder[i].pid && a->holder[i].bytes == b->holder[i].bytes &&
               strcmp(a->holder[i].name, b->holder[i].name) == 0;
    return same;
}

bool fm_reply_equal(const struct fm_reply *a, const struct fm_reply *b)
{
    bool same = same_notes(a, b) && same_state(a, b) && a->id == b->id && a->kind == b->kind && a->outcome == b->outcome && strcmp(a->reason, b->reason) == 0 &&
                strcmp(a->device_id, b->device_id) == 0 && strcmp(a->device_name, b->device_name) == 0 &&
                strcmp(a->device_isa, b->device_isa) == 0 && strcmp(a->device_library, b->device_library) == 0 &&
                strcmp(a->device_driver, b->device_driver) == 0 && strcmp(a->device_uuid, b->device_uuid) == 0 &&
                a->device_total_bytes == b->device_total_bytes &&
                a->device_free_bytes == b->device_free_bytes && a->device_threads == b->device_threads &&
                a->answers == b->answers && a->program == b->program && same_measured(&a->train, &b->train) &&
                same_measured(&a->val, &b->val) && a->failed_in_val == b->failed_in_val &&
                strcmp(a->at_op, b->at_op) == 0 && a->at_bytes == b->at_bytes && a->below_limit == b->below_limit && a->setup_ns == b->setup_ns &&
                a->wall_ns == b->wall_ns && a->rss_peak_bytes == b->rss_peak_bytes &&
                strcmp(a->stop_reason, b->stop_reason) == 0;
    for (size_t i = 0; same && i < a->answers; i++) same = same_answer(&a->answer[i], &b->answer[i]);
    return same;
}
