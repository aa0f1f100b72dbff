#include "probes/worker/watch.h"

#include "probes/measure/statistics.h"
#include "tuner/base/clock.h"
#include "tuner/base/memory.h"

#include <pthread.h>
#include <time.h>

#define PROCESSES_EVERY 10
#define PAUSE_SHARE 9               /* a pause over the look before it */

struct seen {
    struct fm_span span;
    struct fm_device_sample sample;
};

struct fm_watch {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, told;          /* to the thread, from it */
    struct fm_device_watch device;
    uint64_t wanted, done;              /* looks that were asked for */
    bool periodic, stop, ended;
    bool abandoned;                     /* what is left is the thread's to release */
    bool silent;                        /* it was waited for once: never again */
    struct fm_device_sample last;
    int32_t others;                     /* most seen since begin; -1 unknown */
    struct fm_device_sample most;       /* the look that saw them */
    int64_t period_ns;
    struct seen *look;                  /* since begin */
    size_t looks;
};

/* ---- the thread ---- */

static struct timespec at(int64_t ns)
{
    return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
}

/* two neighbours as one: the later one's figures, what both saw of throttling */
static void thin_out(struct fm_watch *w)
{
    for (size_t i = 0; i + 1 < w->looks; i += 2) {
        struct seen one = w->look[i + 1];
        int32_t a = w->look[i].sample.slow, b = one.sample.slow;
        one.span.begin_ns = w->look[i].span.begin_ns;
        one.sample.slow = a < 0 ? b : b < 0 ? a : a | b;
        w->look[i / 2] = one;
    }
    w->looks /= 2;
    w->period_ns *= 2;
}

static void keep(struct fm_watch *w, const struct seen *s)
{
    w->last = s->sample;
    if (!w->periodic) return;
    if (s->sample.others > w->others) {
        w->others = s->sample.others;
        w->most = s->sample;
    }
    if (w->looks == FM_WATCH_LOOKS) thin_out(w);
    w->look[w->looks++] = *s;
}

/* locked when it is called and when it returns; the time of the next look */
static int64_t look_once(struct fm_watch *w, bool processes)
{
    uint64_t answered = w->wanted;
    struct seen s;
    struct fm_clock clock = fm_clock_system();
    (void)pthread_mutex_unlock(&w->lock);
    s.span.begin_ns = fm_now_ns(clock);
    w->device.look(w->device.context, processes, &s.sample);
    s.span.end_ns = fm_now_ns(clock);
    (void)pthread_mutex_lock(&w->lock);
    keep(w, &s);
    w->done = answered;
    (void)pthread_cond_broadcast(&w->told);
    int64_t pause_ns = PAUSE_SHARE * (s.span.end_ns - s.span.begin_ns);
    return s.span.end_ns + (pause_ns > w->period_ns ? pause_ns : w->period_ns);
}

static void release(struct fm_watch *w)
{
    w->device.release(w->device.context);
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_cond_destroy(&w->told);
    (void)pthread_mutex_destroy(&w->lock);
    fm_free(w->look);
    fm_free(w);
}

static void *run(void *context)
{
    struct fm_watch *w = context;
    int64_t next_ns = 0;
    uint32_t count = 0;
    (void)pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        bool asked = w->wanted > w->done;
        if (!asked && !w->periodic) {
            (void)pthread_cond_wait(&w->wake, &w->lock);
        } else if (!asked && fm_now_ns(fm_clock_system()) < next_ns) {
            struct timespec until = at(next_ns);
            (void)pthread_cond_timedwait(&w->wake, &w->lock, &until);
        } else {
            next_ns = look_once(w, asked || ++count % PROCESSES_EVERY == 0);
        }
    }
    w->ended = true;
    (void)pthread_cond_broadcast(&w->told);
    bool mine = w->abandoned;
    (void)pthread_mutex_unlock(&w->lock);
    if (mine) release(w);
    return NULL;
}

/* ---- around it ---- */

static void init_locks(struct fm_watch *w)
{
    pthread_condattr_t attributes;
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->wake, &attributes);
    (void)pthread_cond_init(&w->told, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

fm_status fm_watch_start(struct fm_watch **out, const struct fm_device_watch *device, struct fm_err *err)
{
    struct fm_watch *w = fm_calloc(1, sizeof *w);
    struct fm_device_sample first;
    *out = NULL;
    if (w) w->look = fm_calloc(FM_WATCH_LOOKS, sizeof *w->look);
    if (!w || !w->look) {
        fm_free(w);
        device->release(device->context);
        return FM_FAIL(err, FM_NOMEM, "a watch of the device");
    }
    w->device = *device;
    w->others = -1;
    w->period_ns = FM_WATCH_PERIOD_NS;
    init_locks(w);
    if (pthread_create(&w->thread, NULL, run, w) != 0) w->ended = w->silent = true;
    *out = w;
    (void)fm_watch_look(w, &first);
    return FM_OK;
}

bool fm_watch_look(struct fm_watch *w, struct fm_device_sample *out)
{
    int64_t deadline_ns = fm_now_ns(fm_clock_system()) + FM_WATCH_PATIENCE_NS;
    struct timespec until = at(deadline_ns);
    (void)pthread_mutex_lock(&w->lock);
    uint64_t mine = ++w->wanted;
    (void)pthread_cond_signal(&w->wake);
    while (!w->silent && w->done < mine)
        if (pthread_cond_timedwait(&w->told, &w->lock, &until) != 0 && fm_now_ns(fm_clock_system()) >= deadline_ns) w->silent = w->done < mine;
    bool answered = w->done >= mine;
    if (answered) *out = w->last;
    (void)pthread_mutex_unlock(&w->lock);
    return answered;
}

void fm_watch_begin(struct fm_watch *w)
{
    struct fm_device_sample ignored;
    (void)pthread_mutex_lock(&w->lock);
    w->periodic = true;
    w->looks = 0;
    w->others = -1;
    w->most = (struct fm_device_sample){ .others = -1 };
    (void)pthread_mutex_unlock(&w->lock);
    (void)fm_watch_look(w, &ignored);
}

bool fm_watch_throttled(struct fm_watch *w)
{
    (void)pthread_mutex_lock(&w->lock);
    bool slow = w->last.slow > 0 && w->last.slow & FM_SLOW_THROTTLES;
    (void)pthread_mutex_unlock(&w->lock);
    return slow;
}

/* ---- what it saw ---- */

static int32_t figure(const struct fm_device_sample *s, int which)
{
    return which == 0 ? s->sm_mhz : which == 1 ? s->memory_mhz : which == 2 ? s->temperature_c : s->power_mw;
}

static struct fm_watch_range range_of(const struct seen *look, size_t looks, int which, double *sorted)
{
    size_t n = 0;
    double median;
    for (size_t i = 0; i < looks; i++)
        if (figure(&look[i].sample, which) >= 0) sorted[n++] = figure(&look[i].sample, which);
    fm_sort_f64(sorted, n);
    if (!fm_median(sorted, n, &median)) return (struct fm_watch_range){ -1, -1, -1 };
    return (struct fm_watch_range){ (int32_t)sorted[0], (int32_t)(median + 0.5), (int32_t)sorted[n - 1] };
}

static void summarize(const struct seen *look, size_t looks, struct fm_watched *out)
{
    double sorted[FM_WATCH_LOOKS];
    struct fm_watch_range *const range[] = { &out->sm_mhz, &out->memory_mhz, &out->temperature_c, &out->power_mw };
    for (int i = 0; i < 4; i++) *range[i] = range_of(look, looks, i, sorted);
    out->looks = (uint32_t)looks;
    for (size_t i = 0; i < looks; i++) {
        int32_t slow = look[i].sample.slow;
        if (slow >= 0) out->slow = out->slow < 0 ? slow : out->slow | slow;
    }
}

static bool mark(const struct seen *look, size_t looks, const struct fm_span *step, size_t steps, bool *throttled)
{
    struct fm_look known[FM_WATCH_LOOKS];
    for (size_t i = 0; i < looks; i++)
        known[i] = (struct fm_look){ .span = look[i].span, .known = look[i].sample.slow >= 0,
                                     .throttled = look[i].sample.slow > 0 && look[i].sample.slow & FM_SLOW_THROTTLES };
    return fm_throttled_steps(known, looks, step, steps, throttled);
}

void fm_watch_end(struct fm_watch *w, const struct fm_span *step, size_t steps, bool *throttled, struct fm_watched *seen)
{
    struct fm_device_sample last;
    /* one more look, so that the last steps lie between two */
    bool answers = fm_watch_look(w, &last);
    *seen = (struct fm_watched){ .slow = -1, .others = -1 };
    (void)pthread_mutex_lock(&w->lock);
    w->periodic = false;
    summarize(w->look, w->looks, seen);
    /* of steps after the last look that came back nothing is known */
    seen->marked = answers && mark(w->look, w->looks, step, steps, throttled);
    seen->others = w->others;
    seen->others_listed = w->most.others_listed;
    for (uint32_t i = 0; i < w->most.others_listed; i++) seen->other[i] = w->most.other[i];
    (void)pthread_mutex_unlock(&w->lock);
}

void fm_watch_stop(struct fm_watch *w)
{
    if (!w) return;
    (void)pthread_mutex_lock(&w->lock);
    bool never = w->ended && !w->stop;
    w->stop = true;
    (void)pthread_cond_signal(&w->wake);
    /* it ends at once but during a look */
    struct timespec until = at(fm_now_ns(fm_clock_system()) + (w->silent ? 0 : FM_WATCH_PATIENCE_NS));
    while (!w->ended && pthread_cond_timedwait(&w->told, &w->lock, &until) == 0) continue;
    w->abandoned = !w->ended;
    bool abandoned = w->abandoned;
    pthread_t thread = w->thread;
    (void)pthread_mutex_unlock(&w->lock);
    if (abandoned) {
        (void)pthread_detach(thread);
        return;
    }
    if (!never) (void)pthread_join(thread, NULL);
    release(w);
}
