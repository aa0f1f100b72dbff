#include "tuner/search/search.h"

#include <assert.h>
#include <string.h>

#include "tuner/search/internal.h"

const char *fm_search_method_name(enum fm_search_method method)
{
    switch (method) {
#define X(name, text) case FM_SEARCH_##name: return text;
        FM_SEARCH_METHOD_LIST(X)
#undef X
    }
    return "unknown";
}

const char *fm_search_outcome_name(enum fm_search_outcome outcome)
{
    switch (outcome) {
#define X(name, text) case FM_SEARCH_##name: return text;
        FM_SEARCH_OUTCOME_LIST(X)
#undef X
    }
    return "unknown";
}

fm_status fm_search_init(struct fm_search *search, const struct fm_search_config *config, struct fm_err *err)
{
    if (config->max_batch < 1 || config->max_batch > FM_SEARCH_BATCH_LIMIT)
        return FM_FAIL(err, FM_INVALID, "search: max batch %lld is not in 1 ... %lld",
                       (long long)config->max_batch, (long long)FM_SEARCH_BATCH_LIMIT);
    if (config->planned_batch < FM_SEARCH_UNKNOWN)
        return FM_FAIL(err, FM_INVALID, "search: planned batch %lld is negative; give 0 or more, or %d if unknown",
                       (long long)config->planned_batch, FM_SEARCH_UNKNOWN);
    *search = (struct fm_search){
        .config = *config,
        .raw_answer = FM_SEARCH_UNKNOWN,
    };
    if (config->method != FM_SEARCH_PLAN) fm_search_lightning_start(search);
    return FM_OK;
}

/* --- what is known ----------------------------------------------------------------------------- */

/* once seen to fail is failing: a batch that fits by luck is no answer */
static bool is_fit(const struct fm_search_evidence *e)
{
    return e->fits && !e->ooms;
}

static bool is_misfit(const struct fm_search_evidence *e)
{
    return e->ooms != 0;
}

struct bracket {
    const struct fm_search_evidence *fit;       /* largest that fits, NULL: none */
    const struct fm_search_evidence *misfit;    /* smallest above it that does not, NULL: none */
    int64_t low;                                /* of fit, 0: none */
    int64_t high;                               /* of misfit, 0: none */
};

static struct bracket find_bracket(const struct fm_search *search)
{
    struct bracket b = {0};
    for (size_t i = 0; i < search->evidence_count; i++) {
        const struct fm_search_evidence *e = &search->evidence[i];
        if (is_fit(e)) {
            b.fit = e;
            b.misfit = NULL;
        } else if (is_misfit(e) && !b.misfit) {
            b.misfit = e;
        }
    }
    if (b.fit) b.low = b.fit->batch;
    if (b.misfit) b.high = b.misfit->batch;
    return b;
}

static bool is_boundary(const struct fm_search *search, const struct bracket *b)
{
    return b->low == search->config.max_batch || (b->high && b->high == b->low + 1);
}

static void count_up(uint16_t *count)
{
    if (*count < UINT16_MAX) (*count)++;
}

static fm_status record(struct fm_search *search, const struct fm_search_probe *probe, struct fm_err *err)
{
    size_t at = 0;
    while (at < search->evidence_count && search->evidence[at].batch < probe->batch) at++;
    struct fm_search_evidence *e = &search->evidence[at];
    if (at == search->evidence_count || e->batch != probe->batch) {
        if (search->evidence_count == FM_SEARCH_CAPACITY)
            return FM_FAIL(err, FM_FAILED, "search: more than %d batches were probed", FM_SEARCH_CAPACITY);
        memmove(e + 1, e, (search->evidence_count - at) * sizeof *e);
        search->evidence_count++;
        *e = (struct fm_search_evidence){ .batch = probe->batch };
    }
    bool fits = probe->outcome != FM_SEARCH_OOM_DEVICE;
    count_up(fits ? &e->fits : &e->ooms);
    if (!probe->disturbed) count_up(fits ? &e->clean_fits : &e->clean_ooms);
    if (probe->outcome == FM_SEARCH_NONFINITE) search->nonfinite = true;
    return FM_OK;
}

/* --- what to probe ------------------------------------------------------------------------------ */

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* A function of what is known alone. Whatever is strictly between the two ends of the bracket was
 * never probed, so each answer is new and the bracket shrinks, or its open end doubles. */
static int64_t next_in_bracket(const struct fm_search *search)
{
    struct bracket b = find_bracket(search);
    int64_t limit = search->config.max_batch;
    int64_t origin = search->config.method == FM_SEARCH_PLAN ? search->config.planned_batch : 0;
    origin = smaller(larger(origin, 0), limit);

    if (b.low >= limit || is_boundary(search, &b)) return FM_SEARCH_DONE;
    if (b.low < origin && (!b.high || origin < b.high)) return origin;

    int64_t middle = b.low + (b.high - b.low) / 2;
    if (b.high && b.high <= origin) {           /* the plan was too high: origin - 1, 2, 4, ... */
        int64_t gap = origin - b.high;
        return larger(origin - (gap ? 2 * gap : 1), middle);
    }
    int64_t gap = b.low - origin;               /* it was too low, or never was: origin + 1, 2, 4, ... */
    int64_t further = origin + (gap ? 2 * gap : 1);
    return smaller(further, b.high ? middle : limit);
}

static bool in_lightning(const struct fm_search *search)
{
    return search->config.method != FM_SEARCH_PLAN && !search->lightning.done;
}

int64_t fm_search_next(const struct fm_search *search)
{
    if (search->ended) return FM_SEARCH_DONE;
    if (search->retry_batch) return search->retry_batch;
    if (in_lightning(search)) return fm_search_lightning_next(search);
    if (search->config.method != FM_SEARCH_PLAN && !search->config.finish) return FM_SEARCH_DONE;
    return next_in_bracket(search);
}

/* --- what was answered -------------------------------------------------------------------------- */

enum meaning { VERDICT, INCONCLUSIVE, FINAL };

static enum meaning meaning_of(enum fm_search_outcome outcome)
{
    switch (outcome) {
    case FM_SEARCH_FIT: case FM_SEARCH_NONFINITE: case FM_SEARCH_OOM_DEVICE: return VERDICT;
    case FM_SEARCH_TIMEOUT: case FM_SEARCH_CRASH: case FM_SEARCH_PROTOCOL: return INCONCLUSIVE;
    case FM_SEARCH_OOM_HOST: case FM_SEARCH_UNSUPPORTED: case FM_SEARCH_UNTESTED: break;
    }
    return FINAL;
}

static fm_status check_probe(const struct fm_search *search, const struct fm_search_probe *probe,
                             struct fm_err *err)
{
    if (probe->batch < 1 || probe->batch > search->config.max_batch)
        return FM_FAIL(err, FM_INVALID, "search: batch %lld is not in 1 ... %lld",
                       (long long)probe->batch, (long long)search->config.max_batch);
    if (probe->outcome == FM_SEARCH_UNTESTED)
        return FM_FAIL(err, FM_INVALID, "search: batch %lld: 'untested' is not the outcome of a probe",
                       (long long)probe->batch);
    return FM_OK;
}

fm_status fm_search_tell(struct fm_search *search, const struct fm_search_probe *probe, struct fm_err *err)
{
    fm_status status = check_probe(search, probe, err);
    if (status != FM_OK) return status;
    int64_t asked = fm_search_next(search);
    if (asked != probe->batch)
        return FM_FAIL(err, FM_INVALID, "search: told of batch %lld, but batch %lld was asked for (0: none)",
                       (long long)probe->batch, (long long)asked);

    bool second_try = search->retry_batch != 0;
    enum meaning meaning = meaning_of(probe->outcome);
    bool try_again = meaning == INCONCLUSIVE || (meaning == VERDICT && probe->disturbed);
    if (meaning == VERDICT && (second_try || !try_again)) {
        status = record(search, probe, err);
        if (status != FM_OK) return status;
    }
    search->probes++;
    if (try_again && !second_try) {
        search->retry_batch = probe->batch;
        return FM_OK;
    }
    bool raw = in_lightning(search);
    search->retry_batch = 0;
    if (meaning != VERDICT) {
        search->ended = true;
        search->end_outcome = probe->outcome;
    } else if (raw) {
        fm_search_lightning_tell(search, probe->outcome != FM_SEARCH_OOM_DEVICE);
    }
    return FM_OK;
}

fm_status fm_search_note(struct fm_search *search, const struct fm_search_probe *probe, struct fm_err *err)
{
    fm_status status = check_probe(search, probe, err);
    if (status != FM_OK) return status;
    return meaning_of(probe->outcome) == VERDICT ? record(search, probe, err) : FM_OK;
}

void fm_search_result(const struct fm_search *search, struct fm_search_result *result)
{
    struct bracket b = find_bracket(search);
    *result = (struct fm_search_result){
        .state = fm_search_next(search) == FM_SEARCH_DONE ? FM_SEARCH_UNCERTIFIED : FM_SEARCH_RUNNING,
        .max_batch = FM_SEARCH_UNKNOWN,
        .fits_batch = b.low,
        .fails_batch = b.misfit ? b.high : FM_SEARCH_UNKNOWN,
        .outcome = b.fit ? FM_SEARCH_FIT : b.misfit ? FM_SEARCH_OOM_DEVICE : FM_SEARCH_UNTESTED,
        .nonfinite = search->nonfinite,
        .probes = search->probes,
        .raw_answer = search->raw_answer,
        .raw_probes = search->raw_probes,
    };
    for (size_t i = 0; i < search->evidence_count; i++) {
        const struct fm_search_evidence *e = &search->evidence[i];
        if (is_misfit(e) && e->batch < b.low) result->non_monotone = true;
        if (e->fits && e->ooms) result->flaky = true;
    }
    if (search->ended) {
        result->outcome = search->end_outcome;
        return;
    }
    if (result->state == FM_SEARCH_RUNNING || !is_boundary(search, &b)) return;
    bool at_limit = b.low == search->config.max_batch;
    bool clean = (!b.fit || b.fit->clean_fits) && (at_limit || b.misfit->clean_ooms);
    result->at_limit = at_limit;
    result->disturbed = !clean;
    if (clean) {
        result->state = FM_SEARCH_CERTIFIED;
        result->max_batch = b.low;
    }
}
