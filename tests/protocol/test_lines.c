/* What is written is read back, every field of it; writing refuses what reading would. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "tests/protocol/support_messages.h"
#include "tuner/base/memory.h"

#define ROUNDS 400

/* large: kept off the stack */
static struct fm_reply sent, got;

static void outcomes_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < FM_OUTCOME_COUNT; i++) {
        enum fm_outcome outcome = (enum fm_outcome)i;
        assert_int_equal(fm_outcome_parse(fm_outcome_name(outcome)), outcome);
        assert_true(fm_outcome_text(outcome)[0]);
    }
    assert_int_equal(fm_outcome_parse("OK"), FM_OUTCOME_COUNT);
    assert_int_equal(fm_outcome_parse(""), FM_OUTCOME_COUNT);
    assert_string_equal(fm_outcome_name(FM_OUTCOME_COUNT), "unknown");
}

static void pairs_replace_and_refuse(void **state)
{
    (void)state;
    struct fm_pairs pairs = { .count = 0 };
    char key[64], text[FM_PAIR_BYTES + 1];
    assert_null(fm_pairs_get(&pairs, "a"));
    for (int i = 0; i < FM_MAX_PAIRS; i++) {
        (void)snprintf(key, sizeof key, "key%d", i);
        assert_true(fm_pairs_set(&pairs, key, "old"));
    }
    assert_false(fm_pairs_set(&pairs, "one more", "x"));
    assert_true(fm_pairs_set(&pairs, "key3", "new"));
    assert_int_equal(pairs.count, FM_MAX_PAIRS);
    assert_string_equal(fm_pairs_get(&pairs, "key3"), "new");
    assert_string_equal(fm_pairs_get(&pairs, "key4"), "old");
    memset(text, 'x', sizeof text);
    text[FM_PAIR_BYTES] = '\0';
    assert_false(fm_pairs_set(&pairs, "key3", text));
    assert_string_equal(fm_pairs_get(&pairs, "key3"), "new");
    text[FM_PAIR_BYTES - 1] = '\0';
    assert_true(fm_pairs_set(&pairs, "key3", text));
    pairs.count = 0;
    assert_false(fm_pairs_set(&pairs, "", "x"));
    text[sizeof pairs.item[0].key] = '\0';
    assert_false(fm_pairs_set(&pairs, text, "x"));
    text[sizeof pairs.item[0].key - 1] = '\0';
    assert_true(fm_pairs_set(&pairs, text, "x"));
}

/* one line, its newline the only control character */
static void assert_is_line(const struct fm_buf *line)
{
    assert_true(line->bytes > 1 && line->data[line->bytes - 1] == '\n');
    for (size_t i = 0; i + 1 < line->bytes; i++) assert_true((unsigned char)line->data[i] >= 0x20);
}

static void requests_come_back(void **state)
{
    (void)state;
    struct fm_draw draw = { .seed = 1 };
    struct fm_request request, back;
    struct fm_buf line = FM_BUF(FM_LINE_MAX_BYTES);
    for (int i = 0; i < ROUNDS; i++) {
        struct fm_err err = { 0 };
        fm_random_request(&draw, (enum fm_request_kind)(i % FM_REQUEST_COUNT), &request);
        fm_buf_clear(&line);
        if (fm_request_write(&request, &line, &err) != FM_OK) fail_msg("%s", err.text);
        assert_is_line(&line);
        if (fm_request_read(fm_buf_text(&line), line.bytes, &back, &err) != FM_OK) fail_msg("%s", err.text);
        assert_true(fm_request_equal(&request, &back));
        fm_request_release(&back);
        assert_int_equal(fm_request_read(fm_buf_text(&line), line.bytes - 1, &back, &err), FM_OK);
        fm_request_release(&back);
        fm_request_release(&request);
    }
    fm_buf_release(&line);
    assert_int_equal(fm_memory_live, 0);
}

static void replies_come_back(void **state)
{
    (void)state;
    struct fm_draw draw = { .seed = 2 };
    struct fm_buf line = FM_BUF(FM_LINE_MAX_BYTES);
    for (int i = 0; i < ROUNDS * 3; i++) {
        struct fm_err err = { 0 };
        fm_random_reply(&draw, (enum fm_request_kind)(i % FM_REQUEST_COUNT),
                        (enum fm_outcome)(i / 3 % FM_OUTCOME_planned), &sent);
        fm_buf_clear(&line);
        if (fm_reply_write(&sent, &line, &err) != FM_OK) fail_msg("%s", err.text);
        assert_is_line(&line);
        if (fm_reply_read(fm_buf_text(&line), line.bytes, &got, &err) != FM_OK) fail_msg("%s", err.text);
        assert_true(fm_reply_equal(&sent, &got));
        fm_reply_release(&sent);
        fm_reply_release(&got);
    }
    fm_buf_release(&line);
    assert_int_equal(fm_memory_live, 0);
}

static void lines_are_appended(void **state)
{
    (void)state;
    struct fm_buf out = FM_BUF(4096);
    struct fm_request request = { .id = 5 }, back;
    fm_buf_puts(&out, "before\n");
    assert_int_equal(fm_request_write(&request, &out, NULL), FM_OK);
    assert_string_equal(fm_buf_text(&out), "before\n{\"v\":1,\"id\":5,\"req\":\"inventory\"}\n");
    assert_int_equal(fm_request_read(fm_buf_text(&out) + 7, out.bytes - 7, &back, NULL), FM_OK);
    assert_int_equal(back.id, 5);
    request.id = -1;
    assert_int_equal(fm_request_write(&request, &out, NULL), FM_INVALID);
    assert_string_equal(fm_buf_text(&out), "before\n{\"v\":1,\"id\":5,\"req\":\"inventory\"}\n");
    fm_buf_release(&out);
}

/* ---- what is not written ---- */

static struct fm_request small_probe(void)
{
    struct fm_request request = {
        .id = 1, .kind = FM_REQUEST_PROBE, .cell.workload = "net", .batch = 2, .memory_bytes = 1
    };
    return request;
}

static void refuse_request(struct fm_request request, const char *field)
{
    struct fm_err err = { 0 };
    struct fm_buf out = FM_BUF(FM_LINE_MAX_BYTES);
    assert_int_equal(fm_request_write(&request, &out, &err), FM_INVALID);
    if (!strstr(err.text, field)) fail_msg("'%s' does not name %s", err.text, field);
    assert_int_equal(out.bytes, 0);
    fm_buf_release(&out);
}

static void requests_out_of_range(void **state)
{
    (void)state;
    struct fm_request good = small_probe(), bad;
    struct fm_buf out = FM_BUF(FM_LINE_MAX_BYTES);
    assert_int_equal(fm_request_write(&good, &out, NULL), FM_OK);
    fm_buf_release(&out);
#define REFUSE(field, value) bad = good, bad.field = (value), refuse_request(bad, #field)
    REFUSE(id, -1);
    REFUSE(batch, -1);
    REFUSE(batch, 0);
    REFUSE(val_batch, INT64_C(1) << 31);
    REFUSE(memory_bytes, 0);
    REFUSE(deadline_ms, -1);
    REFUSE(deadline_ms, INT64_MAX);
    REFUSE(train_steps, UINT32_MAX);
    REFUSE(measured_max, FM_MAX_STEPS_KEPT + 1);
    REFUSE(relative_error, -0.1);
    REFUSE(relative_error, 1.1);
    REFUSE(relative_error, (double)NAN);
    REFUSE(relative_error, (double)INFINITY);
#undef REFUSE
    bad = good, bad.cell.workload[0] = '\0', refuse_request(bad, "workload");
    bad = good, memset(bad.cell.workload, 'x', sizeof bad.cell.workload), refuse_request(bad, "workload");
    bad = good, bad.cell.workload[0] = '\xff', refuse_request(bad, "workload: byte 1 is not UTF-8");
    bad = good, bad.cell.set.count = FM_MAX_PAIRS + 1, refuse_request(bad, "set");
    bad = good, bad.cell.strategies.count = UINT32_MAX, refuse_request(bad, "strategies");
    bad = good, bad.kind = FM_REQUEST_COUNT, refuse_request(bad, "req");
    bad = good, bad.kind = FM_REQUEST_WORKSPACES, bad.keys = FM_MAX_KEYS + 1, refuse_request(bad, "keys");
}

static void refuse_reply(const char *field)
{
    struct fm_err err = { 0 };
    struct fm_buf out = FM_BUF(FM_LINE_MAX_BYTES);
    assert_int_equal(fm_reply_write(&sent, &out, &err), FM_INVALID);
    if (!strstr(err.text, field)) fail_msg("'%s' does not name %s", err.text, field);
    assert_int_equal(out.bytes, 0);
    fm_buf_release(&out);
    fm_reply_init(&sent);
    sent.kind = FM_REQUEST_PROBE;
    sent.program = 1;
    sent.train.known = true;
}

static void replies_out_of_range(void **state)
{
    (void)state;
    fm_reply_init(&sent);
    sent.id = -1, refuse_reply("id");
    sent.outcome = FM_OUTCOME_planned, refuse_reply("outcome");
    sent.outcome = FM_OUTCOME_COUNT, refuse_reply("outcome");
    sent.train.step_count = FM_MAX_STEPS_KEPT + 1, refuse_reply("train.step_ns");
    sent.train.breakdown_bytes[7] = -1, refuse_reply("train.breakdown_bytes[7]");
    sent.train.reserved_bytes = -5, refuse_reply("train.reserved_bytes");
    sent.at_bytes = -5, refuse_reply("at.wanted_bytes");
    sent.wall_ns = -5, refuse_reply("wall_ns");
    sent.rss_peak_bytes = -2, refuse_reply("rss_peak_bytes");
    sent.kind = FM_REQUEST_INVENTORY, refuse_reply("device.id");
    struct fm_answer answer = { .key = 1, .count = FM_ANSWER_CANDIDATES + 1 };
    sent.kind = FM_REQUEST_WORKSPACES, sent.answer = &answer, sent.answers = 1, refuse_reply("answers[0].candidates");
}

/* reasons are cut where their array ends, in the middle of a character if need be */
static void reasons_are_made_utf8(void **state)
{
    (void)state;
    struct fm_buf out = FM_BUF(4096);
    fm_reply_init(&sent);
    sent.outcome = FM_OUTCOME_crash;
    (void)snprintf(sent.reason, sizeof sent.reason, "%s", "caf\xc3\xa9 \xe2\x82 \xff\xc0\x80 \xed\xa0\x80 end\xf0\x9f");
    assert_int_equal(fm_reply_write(&sent, &out, NULL), FM_OK);
    assert_int_equal(fm_reply_read(fm_buf_text(&out), out.bytes, &got, NULL), FM_OK);
    assert_string_equal(got.reason, "caf\xc3\xa9 ?? ??? ??? end??");
    fm_buf_release(&out);
}

/* losses that are not finite are unknown afterwards */
static void losses_not_finite_are_absent(void **state)
{
    (void)state;
    struct fm_buf out = FM_BUF(4096);
    fm_reply_init(&sent);
    sent.kind = FM_REQUEST_PROBE, sent.outcome = FM_OUTCOME_nonfinite, sent.program = 1, sent.train.known = true;
    sent.train.loss_first = (double)INFINITY;
    sent.train.loss_last = (double)NAN;
    assert_int_equal(fm_reply_write(&sent, &out, NULL), FM_OK);
    assert_null(strstr(fm_buf_text(&out), "loss"));
    assert_int_equal(fm_reply_read(fm_buf_text(&out), out.bytes, &got, NULL), FM_OK);
    assert_true(isnan(got.train.loss_first) && isnan(got.train.loss_last));
    assert_true(isnan(got.val.loss_first) && !got.val.known && got.rss_peak_bytes == -1 &&
                got.device_total_bytes == -1);
    fm_buf_release(&out);
}

/* ---- memory that runs out ---- */

static void *counted_malloc(size_t bytes) { return fm_calloc(bytes, 1); }

static fm_status round_trip(const struct fm_request *request, const struct fm_reply *reply)
{
    struct fm_err err = { 0 };
    struct fm_buf line = FM_BUF(FM_LINE_MAX_BYTES);
    struct fm_request back;
    fm_status status = fm_request_write(request, &line, &err);
    if (status == FM_OK) {
        status = fm_request_read(fm_buf_text(&line), line.bytes, &back, &err);
        if (status == FM_OK) fm_request_release(&back);
    }
    fm_buf_release(&line);
    if (status == FM_OK) status = fm_reply_write(reply, &line, &err);
    if (status == FM_OK) {
        status = fm_reply_read(fm_buf_text(&line), line.bytes, &got, &err);
        if (status == FM_OK) fm_reply_release(&got);
    }
    fm_buf_release(&line);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    cJSON_Hooks hooks = { counted_malloc, fm_free };
    cJSON_InitHooks(&hooks);
    long faults = 0;
    for (int kind = 0; kind < FM_REQUEST_COUNT; kind++) {
        struct fm_draw draw = { .seed = 5 + (uint64_t)kind };
        struct fm_request request;
        fm_random_request(&draw, (enum fm_request_kind)kind, &request);
        fm_random_reply(&draw, (enum fm_request_kind)kind, FM_OUTCOME_ok, &sent);
        long live = fm_memory_live;
        for (long n = 0;; n++) {
            fm_fault = (struct fm_fault){ .left = n, .armed = true };
            fm_status status = round_trip(&request, &sent);
            long hits = fm_fault.hits;
            fm_fault = (struct fm_fault){ 0 };
            assert_int_equal(fm_memory_live, live);
            if (!hits) {
                assert_int_equal(status, FM_OK);
                break;
            }
            assert_true(status == FM_NOMEM || status == FM_PROTOCOL);
            faults++;
        }
        fm_request_release(&request);
        fm_reply_release(&sent);
    }
    cJSON_InitHooks(NULL);
    assert_true(faults > 100);
    assert_int_equal(fm_memory_live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes_have_names),
        cmocka_unit_test(pairs_replace_and_refuse),
        cmocka_unit_test(requests_come_back),
        cmocka_unit_test(replies_come_back),
        cmocka_unit_test(lines_are_appended),
        cmocka_unit_test(requests_out_of_range),
        cmocka_unit_test(replies_out_of_range),
        cmocka_unit_test(reasons_are_made_utf8),
        cmocka_unit_test(losses_not_finite_are_absent),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
