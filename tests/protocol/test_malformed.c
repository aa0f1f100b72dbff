/* Lines that are not messages: each is refused, by a text that names the fault; none crashes, hangs or is taken for
 * another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "probes/protocol/json.h"
#include "tests/protocol/support_messages.h"
#include "tuner/base/memory.h"

/* large: kept off the stack */
static struct fm_reply reply, again;
static struct fm_request request, request_again;

static const char probe_line[] = "{\"v\":1,\"id\":7,\"req\":\"probe\",\"workload\":\"net\",\"set\":{\"a\":\"1\"},"
                                 "\"strategies\":{},\"batch\":2,\"val_batch\":0,"
                                 "\"program\":\"00000000000000ff\",\"memory_bytes\":1048576,\"seed\":"
                                 "\"0000000000000001\",\"deadline_ms\":1000,\"train_steps\":3,"
                                 "\"val_steps\":0,\"tail_steps\":0,\"measured_min\":5,\"measured_max\":9,\"measured_max_ms\":100,"
                                 "\"relative_error\":0.01,\"fixed_batch\":false,"
                                 "\"shared\":false,\"poison\":true}";
static const char keys_line[] = "{\"v\":1,\"id\":7,\"req\":\"workspaces\",\"workload\":\"net\",\"set\":{},"
                                "\"strategies\":{\"precision\":\"bf16\"},\"batch\":2,"
                                "\"val_batch\":0,\"keys\":[\"00000000000000ff\"]}";
static const char done_line[] =
    "{\"v\":1,\"id\":7,\"req\":\"probe\",\"outcome\":\"ok\",\"program\":\"00000000000000ff\",\"train\":{\"allocated_"
    "bytes\":1,"
    "\"reserved_bytes\":2,\"counted_bytes\":1,\"workspace_bytes\":0,\"breakdown_bytes\":[1,2,3,4,5,6,7,8],\"steps\":2,"
    "\"step_ns\":[10,11],\"throttled\":[1],\"loss_first\":1.5},\"failed_in_val\":false,\"at\":{\"op\":\"x\",\"wanted_bytes\":4,"
    "\"below_limit\":true},\"setup_"
    "ns\":1,"
    "\"wall_ns\":2,\"stop_reason\":\"count\",\"state\":{\"looks\":3,\"sm_mhz_min\":1500,\"slow\":\"none\"},\"others\":[{\"pid\":9}]}";
static const char answers_line[] = "{\"v\":1,\"id\":7,\"req\":\"workspaces\",\"outcome\":\"ok\",\"answers\":[{\"key\":"
                                   "\"00000000000000ff\",\"unsupported\":false,\"kept_bytes\":0,"
                                   "\"candidates\":[{\"bytes\":5,\"what\":\"gemm\"}]}]}";
static const char device_line[] =
    "{\"v\":1,\"id\":7,\"req\":\"inventory\",\"outcome\":\"ok\",\"device\":{\"id\":\"cpu\",\"name\":\"a processor\","
    "\"total_bytes\":5,\"threads\":2}}";

static fm_status read_one(bool is_reply, const char *line, size_t bytes, struct fm_err *err)
{
    fm_status status = is_reply ? fm_reply_read(line, bytes, &reply, err) : fm_request_read(line, bytes, &request, err);
    if (status == FM_OK && is_reply) fm_reply_release(&reply);
    if (status == FM_OK && !is_reply) fm_request_release(&request);
    return status;
}

/* one place of a valid line replaced; the error must contain `names` */
struct change {
    const char *line, *from, *to, *names;
};

static void refuse_change(const struct change *change, bool is_reply)
{
    char line[4096];
    struct fm_err err = { 0 };
    const char *at = strstr(change->line, change->from);
    assert_non_null(at);
    (void)snprintf(line, sizeof line, "%.*s%s%s", (int)(at - change->line), change->line, change->to,
                   at + strlen(change->from));
    fm_status status = read_one(is_reply, line, strlen(line), &err);
    if (status != FM_PROTOCOL) fail_msg("accepted: %s", line);
    if (!strstr(err.text, change->names)) fail_msg("'%s' does not say '%s' of: %s", err.text, change->names, line);
    assert_int_equal(fm_memory_live, 0);
}

static void the_lines_themselves_are_good(void **state)
{
    (void)state;
    struct fm_err err = { 0 };
    if (read_one(false, probe_line, strlen(probe_line), &err) != FM_OK) fail_msg("%s", err.text);
    assert_int_equal(request.program, 255);
    assert_string_equal(fm_pairs_get(&request.cell.set, "a"), "1");
    if (read_one(false, keys_line, strlen(keys_line), &err) != FM_OK) fail_msg("%s", err.text);
    if (read_one(true, done_line, strlen(done_line), &err) != FM_OK) fail_msg("%s", err.text);
    assert_int_equal(reply.train.step_ns[1], 11);
    if (read_one(true, answers_line, strlen(answers_line), &err) != FM_OK) fail_msg("%s", err.text);
    if (read_one(true, device_line, strlen(device_line), &err) != FM_OK) fail_msg("%s", err.text);
    assert_int_equal(reply.device_free_bytes, -1);
}

static const struct change bad_requests[] = {
    { probe_line, "\"v\":1", "\"v\":2", "v: not version 1" },
    { probe_line, "\"v\":1,", "", "v: not version 1" },
    { probe_line, "\"v\":1", "\"v\":\"1\"", "v: not version 1" },
    { probe_line, "\"v\":1", "\"v\":1,\"v\":1", "v: there twice" },
    { probe_line, "\"v\"", "\"V\"", "v: not version 1" },
    { probe_line, "\"id\":7,", "", "id: missing" },
    { probe_line, "\"id\":7", "\"id\":-7", "id: -7 is not in 0" },
    { probe_line, "\"id\":7", "\"id\":7.5", "id: 7.5 is no integer" },
    { probe_line, "\"id\":7", "\"id\":\"7\"", "id: \"7\": integers are texts only beyond" },
    { probe_line, "\"id\":7", "\"id\":9007199254740994", "id: 9007199254740994 is no integer, or one beyond" },
    { probe_line, "\"id\":7", "\"id\":\"09007199254740994\"", "id: \"09007199254740994\"" },
    { probe_line, "\"id\":7", "\"id\":\"9223372036854775808\"", "id: not an integer" },
    { probe_line, "\"id\":7", "\"id\":\"99999999999999999999999999\"", "id: not an integer" },
    { probe_line, "\"id\":7", "\"id\":1e400", "id: inf is no integer" },
    { probe_line, "\"id\":7", "\"id\":null", "id: not an integer" },
    { probe_line, "\"id\":7", "\"id\":[7]", "id: not an integer" },
    { probe_line, "\"id\":7", "\"id\":07", "not a number of JSON" },
    { probe_line, "\"id\":7", "\"id\":7.", "not a number of JSON" },
    { probe_line, "\"id\":7", "\"id\":-", "not a number of JSON" },
    { probe_line, "\"id\":7", "\"id\":0x7", "stopped at byte" },
    { probe_line, "\"id\":7", "\"id\":NaN", "stopped at byte" },
    { probe_line, "\"probe\"", "\"train\"", "req: 'train' is none of" },
    { probe_line, "\"probe\"", "\"Probe\"", "req: 'Probe' is none of" },
    { probe_line, "\"probe\"", "3", "req: '' is none of" },
    { probe_line, "\"probe\"", "\"inventory\"", "workload: a field that this message does not have" },
    { probe_line, "\"workload\":\"net\",", "", "workload: missing" },
    { probe_line, "\"workload\":\"net\"", "\"workload\":\"\"", "workload: empty" },
    { probe_line, "\"workload\":\"net\"", "\"workload\":5", "workload: not a text" },
    { probe_line, "\"net\"", "\"a\\u0000b\"", "a NUL within a text" },
    { probe_line, "\"net\"", "\"a\xff\"", "not UTF-8" },
    { probe_line, "\"net\"", "\"\xc0\xaf\"", "not UTF-8" },
    { probe_line, "\"net\"", "\"\xed\xa0\x80\"", "not UTF-8" },
    { probe_line, "\"net\"", "\"\xf4\x90\x80\x80\"", "not UTF-8" },
    { probe_line, "\"net\"", "\"\xe2\x82\"", "not UTF-8" },
    { probe_line, "\"net\"", "\"a\tb\"", "a control character" },
    { probe_line, "\"net\"", "\"\\ud800\"", "stopped at byte" },
    { probe_line, "\"net\"", "\"\\x\"", "stopped at byte" },
    { probe_line, "\"set\":{\"a\":\"1\"}", "\"set\":[]", "set: not an object" },
    { probe_line, "\"a\":\"1\"", "\"a\":1", "set.a: not a text" },
    { probe_line, "\"a\":\"1\"", "\"a\":\"1\",\"a\":\"1\"", "set.a: there twice" },
    { probe_line, "\"a\":\"1\"", "\"\":\"1\"", "set.: an empty or long name" },
    { probe_line, "\"a\"", "\"0123456789012345678901234567890123456789\"",
      "set.0123456789012345678901234567890123456789: an empty or" },
    { probe_line, "\"batch\":2", "\"batch\":0", "batch: 0, and so is val_batch" },
    { probe_line, "\"batch\":2", "\"batch\":2147483648", "batch: 2147483648 is not in" },
    { probe_line, "\"val_batch\":0,", "", "val_batch: missing" },
    { probe_line, "00000000000000ff", "00000000000000f", "program: not a text of 16" },
    { probe_line, "00000000000000ff", "00000000000000fff", "program: not a text of 16" },
    { probe_line, "00000000000000ff", "00000000000000FF", "program: not a text of 16" },
    { probe_line, "\"00000000000000ff\"", "255", "program: not a text of 16" },
    { probe_line, "1048576", "0", "memory_bytes: 0 is not in 1" },
    { probe_line, "\"train_steps\":3", "\"train_steps\":-1", "train_steps: -1" },
    { probe_line, "\"train_steps\":3", "\"train_steps\":4294967299", "train_steps: 4294967299" },
    { probe_line, "\"measured_max\":9", "\"measured_max\":4097", "measured_max: 4097" },
    { probe_line, "0.01", "1.01", "relative_error: 1.01" },
    { probe_line, "0.01", "-1e-300", "relative_error: -1" },
    { probe_line, "0.01", "1e999", "relative_error: not a finite number" },
    { probe_line, "0.01", "\"0.01\"", "relative_error: not a finite number" },
    { probe_line, "\"fixed_batch\":false", "\"fixed_batch\":0", "fixed_batch: neither true nor false" },
    { probe_line, "\"poison\":true", "\"poison\":\"true\"", "poison: neither true nor false" },
    { probe_line, "\"shared\":false,", "", "shared: missing" },
    { probe_line, "\"poison\":true", "\"poison\":true,\"more\":1", "more: a field that this message does not have" },
    { probe_line, "\"poison\":true", "\"poison\":true,", "stopped at byte" },
    { probe_line, "\"poison\":true}", "\"poison\":true} ;", "stopped at byte" },
    { probe_line, "\"poison\":true}", "\"poison\":true}{}", "stopped at byte" },
    { probe_line, "{\"v\"", "\xef\xbb\xbf{\"v\"", "outside of a text" },
    { probe_line, "{\"v\"", "[{\"v\"", "stopped at byte" },
    { keys_line, "\"keys\":[\"00000000000000ff\"]", "\"keys\":{}", "keys: not an array" },
    { keys_line, "[\"00000000000000ff\"]", "[\"00000000000000ff\",5]", "keys[1]: not a text of 16" },
    { keys_line,
      "\"keys\":", "\"program\":\"00000000000000ff\",\"keys\":", "program: a field that this message does not have" },
};

static void requests_with_a_fault(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_requests / sizeof bad_requests[0]; i++) refuse_change(&bad_requests[i], false);
}

static const struct change bad_replies[] = {
    { done_line, "\"ok\"", "\"fine\"", "outcome: 'fine' is none" },
    { done_line, "\"ok\"", "\"planned\"", "outcome: 'planned' is none" },
    { done_line, "\"outcome\":\"ok\",", "", "outcome: '' is none" },
    { done_line, "\"outcome\":\"ok\"", "\"outcome\":\"ok\",\"outcome\":\"crash\"", "outcome: there twice" },
    { done_line, "\"program\":\"00000000000000ff\",", "", "program: missing" },
    { done_line, "\"train\":{", "\"train\":5,\"val\":{", "train: not an object" },
    { done_line, "\"allocated_bytes\":1,", "", "train.allocated_bytes: missing" },
    { done_line, "\"allocated_bytes\":1", "\"allocated_bytes\":-1", "train.allocated_bytes: -1 is not" },
    { done_line, "7,8]", "7]", "train.breakdown_bytes: 7 items, not 8" },
    { done_line, "7,8]", "7,8,9]", "train.breakdown_bytes: 9 items, at most 8" },
    { done_line, "7,8]", "7,-8]", "train.breakdown_bytes[7]: -8" },
    { done_line, "[10,11]", "[10,0.5]", "train.step_ns[1]: 0.5" },
    { done_line, "[1],", "[2],", "train.throttled[0]: no step" },
    { done_line, "[1],", "[1,0],", "train.throttled[1]: no step, or not after" },
    { done_line, "[1],", "[0,1,1],", "train.throttled[2]: no step, or not after" },
    { done_line, "\"looks\":3,", "", "state.looks: missing" },
    { done_line, "1500", "-1500", "state.sm_mhz_min: -1500" },
    { done_line, "\"slow\":\"none\"", "\"slow\":\"\"", "state.slow: empty" },
    { done_line, "\"pid\":9", "\"pid\":-9", "others[0].pid: -9" },
    { done_line, "\"loss_first\":1.5", "\"loss_first\":1e400", "train.loss_first: not a finite" },
    { done_line, "\"loss_first\":1.5", "\"loss_first\":null", "train.loss_first: not a finite" },
    { done_line, "\"op\":\"x\"", "\"op\":\"\"", "at.op: empty" },
    { done_line, ",\"wanted_bytes\":4", "", "at.wanted_bytes: missing" },
    { done_line, "\"count\"", "\"a reason that is longer than its room\"",
      "stop_reason: a text of 37 bytes, at most 23" },
    { done_line, "\"failed_in_val\":false,", "", "failed_in_val: missing" },
    { done_line, "\"probe\"", "\"workspaces\"", "program: a field that" },
    { answers_line, "{\"key\":\"00000000000000ff\",", "{", "answers[0].key: missing" },
    { answers_line, "\"kept_bytes\":0,", "", "answers[0].kept_bytes: missing" },
    { answers_line, "\"kept_bytes\":0,", "\"kept_bytes\":-1,", "answers[0].kept_bytes: -1" },
    { answers_line, "\"bytes\":5,", "", "answers[0].candidates[0]: not an object of bytes" },
    { answers_line, "\"bytes\":5", "\"bytes\":5,\"bytes\":5", "answers[0].candidates[0]: not an object of bytes" },
    { answers_line, "\"bytes\":5", "\"bytes\":-5", "answers[0].candidates[0].bytes: -5" },
    { answers_line, "\"gemm\"", "5", "answers[0].candidates[0].what: not a text" },
    { answers_line, "\"gemm\"", "\"0123456789012345678901234567890123456789012345678\"",
      "answers[0].candidates[0].what: a text of 49" },
    { answers_line, "[{\"bytes\":5,\"what\":\"gemm\"}]", "[1,2,3,4,5,6,7,8,9,10,11]", "answers[0].candidates: 11 items" },
    { answers_line, "\"ok\"", "\"oom_host\"", "answers: a field that" },
    { answers_line, "\"unsupported\":false,", "", "answers[0].unsupported: missing" },
    { device_line, "\"id\":\"cpu\",", "", "device.id: missing" },
    { device_line, "\"total_bytes\":5", "\"total_bytes\":-1", "device.total_bytes: -1" },
    { device_line, "\"threads\":2", "\"threads\":2147483648", "device.threads: 2147483648" },
    { device_line, ",\"device\":{", ",\"device\":{},\"x\":{", "device.id: missing" },
};

static void replies_with_a_fault(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_replies / sizeof bad_replies[0]; i++) refuse_change(&bad_replies[i], true);
    static const char nothing_ran[] =
        "{\"v\":1,\"id\":7,\"req\":\"probe\",\"outcome\":\"ok\",\"program\":\"00000000000000ff\","
        "\"failed_in_val\":false,\"setup_ns\":1,\"wall_ns\":2}";
    refuse_change(&(struct change){ nothing_ran, "{", "{", "train: missing" }, true);
}

static void every_truncation(void **state)
{
    (void)state;
    static const struct { const char *line; bool is_reply; } all[] = {
        { probe_line, false }, { keys_line, false }, { done_line, true }, { answers_line, true }, { device_line, true },
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        size_t bytes = strlen(all[i].line);
        for (size_t cut = 0; cut < bytes; cut++) {
            /* a block of just these bytes, so that reading on is seen by the sanitizer */
            char *line = fm_strndup(all[i].line, cut);
            char *exact = fm_calloc(cut, 1);
            assert_true(line && exact);
            if (cut) memcpy(exact, line, cut);
            assert_int_equal(read_one(all[i].is_reply, line, cut, NULL), FM_PROTOCOL);
            assert_int_equal(read_one(all[i].is_reply, exact, cut, NULL), FM_PROTOCOL);
            fm_free(line);
            fm_free(exact);
        }
    }
    assert_int_equal(fm_memory_live, 0);
}

/* a line of `prefix`, `unit` repeated to about `bytes`, `suffix`; refused with a text that has `names` */
static void refuse_repeated(const char *prefix, const char *unit, size_t bytes, const char *suffix, const char *names)
{
    struct fm_buf line = FM_BUF((size_t)64 << 20);
    struct fm_err err = { 0 };
    fm_buf_puts(&line, prefix);
    while (line.bytes < bytes) fm_buf_puts(&line, unit);
    fm_buf_puts(&line, suffix);
    assert_true(fm_buf_ok(&line));
    assert_int_equal(read_one(true, fm_buf_text(&line), line.bytes, &err), FM_PROTOCOL);
    if (!strstr(err.text, names)) fail_msg("'%s' does not say '%s'", err.text, names);
    assert_int_equal(read_one(false, fm_buf_text(&line), line.bytes, NULL), FM_PROTOCOL);
    fm_buf_release(&line);
    assert_int_equal(fm_memory_live, 0);
}

static void large_lines(void **state)
{
    (void)state;
    static const char start[] = "{\"v\":1,\"id\":7,\"req\":\"inventory\",\"outcome\":\"crash\",\"reason\":\"";
    refuse_repeated("", "[", 10000, "", "stopped at byte");
    refuse_repeated("{\"v\":1,\"a\":", "{\"a\":", 10000, "1", "stopped at byte");
    refuse_repeated("[", "1,", (size_t)8 << 20, "1]", "more values than any message has");
    refuse_repeated(start, "x", FM_LINE_MAX_BYTES, "\"}", "at most 16777216 are read");
    refuse_repeated(start, "x", (size_t)1 << 20, "\"}", "reason: a text of");
    /* too long for some versions of cJSON, infinite for others */
    refuse_repeated("{\"v\":1,\"req\":\"inventory\",\"outcome\":\"crash\",\"id\":", "9", 500, "}", "reply: ");
    refuse_repeated("{\"v\":1,\"id\":7,\"req\":\"inventory\",\"outcome\":\"ok\",\"id\":7", ",\"id\":7", 1 << 20, "}",
                    "id: there twice");
    refuse_repeated("{\"v\":1,\"id\":7,\"req\":\"workspaces\",\"outcome\":\"ok\",\"answers\":[{}", ",{}",
                    FM_MAX_KEYS * 3 + 100, "]}", "answers: ");
    refuse_repeated("", " ", 1000, "", "stopped at byte");
    refuse_repeated("{\"", "\xf0\x9f\x98\x80", 1000, "\":1}", "v: not version 1");
}

/* Whatever mutation does to a line: it is refused, or it is a message that is written and read back as itself. */
static void mutate(struct fm_draw *draw, struct fm_buf *line)
{
    static const char *const token[] = { "{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         ":",
                                         "\"",
                                         "\\",
                                         "null",
                                         "true",
                                         "-1",
                                         "1e400",
                                         "1e5",
                                         "0.5",
                                         "\\u0000",
                                         "\\ud83d\\ude00",
                                         "\"v\":1,",
                                         "99999999999999999999",
                                         "9007199254740993",
                                         "\xff",
                                         "\n",
                                         " " };
    size_t at = fm_draw_below(draw, line->bytes);
    const char *text = token[fm_draw_below(draw, sizeof token / sizeof token[0])];
    size_t n = strlen(text), other = fm_draw_below(draw, line->bytes);
    switch (fm_draw_below(draw, 5)) {
    case 0:
        line->data[at] = (char)(line->data[at] ^ (1 << fm_draw_below(draw, 8)));
        break;
    case 1:
        line->data[at] = line->data[other];
        break;
    case 2:
        memmove(line->data + at, line->data + at + 1, line->bytes - at - 1);
        line->bytes--;
        break;
    case 3:
        fm_buf_puts(line, text);
        memmove(line->data + at + n, line->data + at, line->bytes - n - at);
        memcpy(line->data + at, text, n);
        break;
    default:
        if (other + 1 < line->bytes) line->bytes -= fm_draw_below(draw, line->bytes - other);
        break;
    }
    if (!line->bytes) fm_buf_puts(line, "{");
}

static void mutations(void **state)
{
    (void)state;
    static const char *const lines[] = { probe_line, keys_line, done_line, answers_line, device_line };
    struct fm_draw draw = { .seed = 3 };
    struct fm_buf line = FM_BUF(65536), out = FM_BUF(FM_LINE_MAX_BYTES);
    long accepted = 0, refused = 0;
    for (int i = 0; i < 30000; i++) {
        bool is_reply = i % 5 >= 2;
        fm_buf_clear(&line), fm_buf_clear(&out);
        fm_buf_puts(&line, lines[i % 5]);
        for (uint64_t n = 1 + fm_draw_below(&draw, 3); n; n--) mutate(&draw, &line);
        struct fm_err err = { 0 };
        fm_status status = is_reply ? fm_reply_read(line.data, line.bytes, &reply, &err)
                                    : fm_request_read(line.data, line.bytes, &request, &err);
        if (status != FM_OK) {
            assert_int_equal(status, FM_PROTOCOL);
            assert_int_equal(strncmp(err.text, is_reply ? "reply: " : "request: ", is_reply ? 7 : 9), 0);
            refused++;
            continue;
        }
        accepted++;
        if (is_reply) {
            if (fm_reply_write(&reply, &out, &err) != FM_OK ||
                fm_reply_read(out.data, out.bytes, &again, &err) != FM_OK)
                fail_msg("%s: %s", err.text, fm_buf_text(&line));
            assert_true(fm_reply_equal(&reply, &again));
            fm_reply_release(&reply), fm_reply_release(&again);
        } else {
            if (fm_request_write(&request, &out, &err) != FM_OK ||
                fm_request_read(out.data, out.bytes, &request_again, &err) != FM_OK)
                fail_msg("%s: %s", err.text, fm_buf_text(&line));
            assert_true(fm_request_equal(&request, &request_again));
            fm_request_release(&request), fm_request_release(&request_again);
        }
    }
    assert_true(accepted > 100 && refused > 10000);
    fm_buf_release(&line);
    fm_buf_release(&out);
    assert_int_equal(fm_memory_live, 0);
}

static void utf8_by_definition(void **state)
{
    (void)state;
    /* against an encoder: a sequence is UTF-8 exactly if encoding its code point gives it back */
    for (uint32_t code = 1; code < 0x120000; code += code < 0x11000 ? 1 : 61) {
        char text[4] = { 0 };
        size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
        for (size_t i = n; i-- > 1;) text[i] = (char)(0x80 | ((code >> (6 * (n - 1 - i))) & 0x3f));
        text[0] = (char)(n == 1 ? code : lead[n] | code >> (6 * (n - 1)));
        bool good = (code < 0xd800 || code > 0xdfff) && code <= 0x10ffff;
        assert_int_equal(fm_utf8_length(text, n), good ? n : 0);
        if (good && n > 1) assert_int_equal(fm_utf8_length(text, n - 1), 0);
        /* the same code point in one byte more */
        if (n == 1) {
            char longer[2] = { (char)(0xc0 | code >> 6), (char)(0x80 | (code & 0x3f)) };
            assert_int_equal(fm_utf8_length(longer, 2), 0);
        }
        if (n == 2) {
            char longer[3] = { (char)0xe0, (char)(0x80 | code >> 6), (char)(0x80 | (code & 0x3f)) };
            assert_int_equal(fm_utf8_length(longer, 3), 0);
        }
        if (n == 3) {
            char longer[4] = { (char)0xf0, (char)(0x80 | code >> 12), (char)(0x80 | (code >> 6 & 0x3f)),
                               (char)(0x80 | (code & 0x3f)) };
            assert_int_equal(fm_utf8_length(longer, 4), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lines_themselves_are_good),
        cmocka_unit_test(requests_with_a_fault),
        cmocka_unit_test(replies_with_a_fault),
        cmocka_unit_test(every_truncation),
        cmocka_unit_test(large_lines),
        cmocka_unit_test(mutations),
        cmocka_unit_test(utf8_by_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
