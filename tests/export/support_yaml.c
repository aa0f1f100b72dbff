#include "tests/export/support_yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <yaml.h>

#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

/* ---- what a reader sees ---- */

struct level {
    bool mapping, key;          /* key: the next node is one */
    bool is_key;                /* the collection is a key itself */
    size_t items, path_bytes;
};

struct seer {
    struct level level[80];
    size_t depth;
    char path[2048];
    struct fm_seen *out;
};

static void add(struct seer *s, const char *value)
{
    char line[4096];
    char **lines = fm_grow(s->out->line, &s->out->capacity, s->out->count + 1, sizeof *lines);
    assert_non_null(lines);
    (void)snprintf(line, sizeof line, "%.2000s=%.2000s", s->path, value);
    s->out->line = lines;
    lines[s->out->count++] = fm_strdup(line);
}

/* before a value: its index in a sequence */
static void enter(struct seer *s)
{
    struct level *top = s->depth ? &s->level[s->depth - 1] : NULL;
    if (!top || top->mapping) return;
    s->path[top->path_bytes] = '\0';
    (void)snprintf(s->path + top->path_bytes, 64, "%zu/", top->items++);
}

static void leave(struct seer *s)
{
    struct level *top = s->depth ? &s->level[s->depth - 1] : NULL;
    if (!top) return;
    s->path[top->path_bytes] = '\0';
    top->key = top->mapping;
}

static void see_scalar(struct seer *s, const char *text)
{
    struct level *top = s->depth ? &s->level[s->depth - 1] : NULL;
    if (top && top->key) {
        s->path[top->path_bytes] = '\0';
        (void)snprintf(s->path + top->path_bytes, 256, "%.200s/", text);
        top->key = false;
        top->items++;
        return;
    }
    enter(s);
    add(s, text);
    leave(s);
}

static void open_level(struct seer *s, bool mapping)
{
    struct level *top = s->depth ? &s->level[s->depth - 1] : NULL;
    bool is_key = top && top->key;
    if (is_key) (void)snprintf(s->path + top->path_bytes, 64, "?%zu/", top->items++);
    else enter(s);
    assert_true(s->depth < sizeof s->level / sizeof s->level[0]);
    s->level[s->depth++] = (struct level){ mapping, mapping, is_key, 0, strlen(s->path) };
}

static void see(struct seer *s, const yaml_event_t *e)
{
    char alias[100];
    switch (e->type) {
    case YAML_SCALAR_EVENT: see_scalar(s, (const char *)e->data.scalar.value); break;
    case YAML_ALIAS_EVENT:
        (void)snprintf(alias, sizeof alias, "@%.80s", (const char *)e->data.alias.anchor);
        see_scalar(s, alias);
        break;
    case YAML_MAPPING_START_EVENT: case YAML_SEQUENCE_START_EVENT:
        open_level(s, e->type == YAML_MAPPING_START_EVENT);
        break;
    case YAML_MAPPING_END_EVENT: case YAML_SEQUENCE_END_EVENT:
        s->depth--;
        s->path[s->level[s->depth].path_bytes] = '\0';
        if (!s->level[s->depth].items) add(s, s->level[s->depth].mapping ? "{}" : "[]");
        if (s->level[s->depth].is_key) s->level[s->depth - 1].key = false;
        else leave(s);
        break;
    default: break;
    }
}

bool fm_test_see(const char *text, size_t bytes, struct fm_seen *out)
{
    yaml_parser_t parser;
    struct seer *s = fm_calloc(1, sizeof *s);
    bool good = true, done = false;
    assert_non_null(s);
    *out = (struct fm_seen){ 0 };
    s->out = out;
    assert_true(yaml_parser_initialize(&parser));
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
    while (good && !done) {
        yaml_event_t event;
        good = yaml_parser_parse(&parser, &event);
        if (!good) break;
        done = event.type == YAML_STREAM_END_EVENT;
        see(s, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    fm_free(s);
    if (!good) fm_test_seen_release(out);
    return good;
}

void fm_test_seen_release(struct fm_seen *seen)
{
    for (size_t i = 0; i < seen->count; i++) fm_free(seen->line[i]);
    fm_free(seen->line);
    *seen = (struct fm_seen){ 0 };
}

const char *fm_test_seen_value(const struct fm_seen *seen, const char *path)
{
    size_t bytes = strlen(path);
    for (size_t i = 0; i < seen->count; i++)
        if (strncmp(seen->line[i], path, bytes) == 0 && seen->line[i][bytes] == '=') return seen->line[i] + bytes + 1;
    return NULL;
}

/* ---- random texts ---- */

const char *const fm_target_path[FM_TARGETS] = { "a.b", "a.c", "d.e.f", "g", "d.list" };

void fm_test_entries(int which, struct fm_entries *out)
{
    static const int64_t lists[2][3] = { { 1, 2, 3 }, { 96, 8, 160 } };
    memset(out, 0, sizeof *out);
    (void)fm_entries_add(out, fm_target_path[FM_TARGET_B], fm_value_int(which ? 128 : 4));
    (void)fm_entries_add(out, fm_target_path[FM_TARGET_C], fm_value_text(which ? "bf16-mixed" : "x"));
    (void)fm_entries_add(out, fm_target_path[FM_TARGET_F], fm_value_int(which ? -7 : 10));
    (void)fm_entries_add(out, fm_target_path[FM_TARGET_G], fm_value_bool(which == 0));
    (void)fm_entries_add(out, fm_target_path[FM_TARGET_LIST], fm_value_ints(lists[which ? 1 : 0], 3));
}

typedef struct fm_random_text gen;

static uint64_t pick(gen *g, uint64_t n)
{
    return fm_rng_u64(g->seed, 7, g->index++) % n;
}

static void indent(gen *g, int columns)
{
    fm_buf_printf(&g->out, "%*s", columns, "");
}

/* the end of a line in block context, perhaps with a comment, perhaps with more lines of them */
static void line_end(gen *g)
{
    static const char *const ends[] = { "\n", "\n", "\n", "  # comment: {a: b}\n", " # k\xc3\xa4se\n", "\n# at the margin\n", "\n\n", "   \n" };
    fm_buf_puts(&g->out, ends[pick(g, sizeof ends / sizeof ends[0])]);
}

static const char *const scalars[] = {
    "7", "-1.5e3", "plain words", "'single ''quoted'''", "\"double \\\"q\\\" \\u00e9\"", "\xe6\x97\xa5\xe6\x9c\xac", "true", "null", "~", "a:b", "x#y",
    "[1, {x: 2}, \"y\"]", "{b: 5, nested: [a, b]}", "[]", "{}", "[1,\n      2,\n      3]", "{q: 1,\n      r: 2}", "\"over\n      two lines\"", "&anchor 5",
};

/* " value" and the line's end; may be a block below */
static void filler(gen *g, int column, int depth)
{
    switch (pick(g, depth > 2 ? 8 : 12)) {
    case 8:
        line_end(g);
        for (uint64_t i = 0, n = 1 + pick(g, 3); i < n; i++) {
            indent(g, column + (int)pick(g, 1) * 2);
            fm_buf_printf(&g->out, "- %s", scalars[pick(g, 6)]);
            line_end(g);
        }
        return;
    case 9:
        line_end(g);
        for (uint64_t i = 0, n = 1 + pick(g, 2); i < n; i++) {
            indent(g, column + 2);
            fm_buf_printf(&g->out, "k%llu:", (unsigned long long)i);
            filler(g, column + 2, depth + 1);
        }
        return;
    case 10:
        fm_buf_puts(&g->out, pick(g, 2) ? " |\n" : " >-\n");
        indent(g, column + 2);
        fm_buf_puts(&g->out, "text: {not} # a key\n");
        if (pick(g, 2)) fm_buf_puts(&g->out, "\n");
        indent(g, column + 2);
        fm_buf_puts(&g->out, "b: 3\n");
        return;
    case 11:
        line_end(g);
        indent(g, column + 2);
        fm_buf_puts(&g->out, "- b: 1\n");
        indent(g, column + 4);
        fm_buf_puts(&g->out, "g: 2\n");
        return;
    default: fm_buf_printf(&g->out, " %s", scalars[pick(g, sizeof scalars / sizeof scalars[0])]);
    }
    line_end(g);
}

/* a target's value in the text */
static const char *value_of(gen *g, enum fm_target target)
{
    static const char *const same[FM_TARGETS][2] = { { "4", "4" }, { "'x'", "\"x\"" }, { "10", "10" }, { "true", "true" }, { "[1, 2, 3]", "[1,2, 3]" } };
    static const char *const any[FM_TARGETS][4] = {
        { "0", "4096", "4", "+12" }, { "word", "'it''s'", "\"32-true\"", "'no'" }, { "1", "22", "333", "0" }, { "true", "False", "yes", "off" },
        { "[160, 160, 256]", "[1, 2, 3]", "[ 8,8,8 ]", "[0, 0, 0]" },
    };
    static const char *const json[FM_TARGETS][4] = {
        { "0", "4096", "4", "12" }, { "\"word\"", "\"\"", "\"32-true\"", "\"no\"" }, { "1", "22", "333", "0" }, { "true", "false", "true", "false" },
        { "[160, 160, 256]", "[1, 2, 3]", "[ 8,8,8 ]", "[0, 0, 0]" },
    };
    if (g->nulls && pick(g, 4) == 0) return g->json ? "null" : pick(g, 2) ? "~" : "null";
    if (g->canonical) return same[target][g->json ? 1 : pick(g, 2)];
    return (g->json ? json : any)[target][pick(g, 4)];
}

static bool there(gen *g)
{
    return g->all || pick(g, 2) == 0;
}

/* the list in a block, or as any value */
static void block_target(gen *g, int column, const char *key, enum fm_target target)
{
    static const int first[] = { 1, 2, 3 };
    if (!there(g)) return;
    indent(g, column);
    fm_buf_printf(&g->out, "%s:", key);
    if (target == FM_TARGET_LIST && pick(g, 3) == 0) {
        line_end(g);
        for (int i = 0; i < 3; i++) {
            indent(g, column + 2);
            fm_buf_printf(&g->out, "- %d", g->canonical ? first[i] : (int)pick(g, 50));
            line_end(g);
        }
        return;
    }
    if (!g->nulls || pick(g, 6)) fm_buf_printf(&g->out, " %s", value_of(g, target));
    line_end(g);
}

static void block_filler(gen *g, int column, const char *name)
{
    if (pick(g, 2)) return;
    indent(g, column);
    fm_buf_printf(&g->out, "%s:", name);
    filler(g, column, 0);
}

/* {...}; member texts in random order would hide nothing, so it is fixed */
static void flow_mapping(gen *g, const char *const *member, size_t count, bool lines, int column)
{
    bool any = false;
    fm_buf_putc(&g->out, '{');
    for (size_t i = 0; i < count; i++) {
        if (!member[i]) continue;
        if (any) fm_buf_putc(&g->out, ',');
        if (lines) {
            fm_buf_putc(&g->out, '\n');
            indent(g, column + 2);
        } else if (any) fm_buf_putc(&g->out, ' ');
        fm_buf_puts(&g->out, member[i]);
        any = true;
    }
    if (lines && any) {
        fm_buf_putc(&g->out, '\n');
        indent(g, column);
    }
    fm_buf_putc(&g->out, '}');
}

/* "b: 4" or NULL */
static const char *member(gen *g, char text[256], const char *key, enum fm_target target)
{
    if (!there(g)) return NULL;
    (void)snprintf(text, 256, g->json ? "\"%s\": %s" : "%s: %s", key, value_of(g, target));
    return text;
}

static const char *flow_text(gen *g, char text[1024], bool is_a, int column, bool lines)
{
    char one[256], two[256], three[700];
    const char *members[3] = { g->json ? "\"z\": [1, {\"b\": 2}]" : "z: [1, {b: 2}]", NULL, NULL };
    struct fm_buf outer = g->out, inner = FM_BUF(4096);
    if (pick(g, 2)) members[0] = NULL;
    if (is_a) {
        members[1] = member(g, one, "b", FM_TARGET_B);
        members[2] = member(g, two, "c", FM_TARGET_C);
    } else {
        const char *f = member(g, one, "f", FM_TARGET_F);
        if (f || pick(g, 2)) {
            (void)snprintf(three, sizeof three, g->json ? "\"e\": {%s}" : "e: {%s}", f ? f : "");
            members[1] = three;
        }
        members[2] = member(g, two, "list", FM_TARGET_LIST);
    }
    g->out = inner;
    flow_mapping(g, members, 3, lines, column);
    (void)snprintf(text, 1024, "%s", fm_buf_text(&g->out));
    fm_buf_release(&g->out);
    g->out = outer;
    return text;
}

/* "a:" or "d:" with what is below it */
static void block_parent(gen *g, bool is_a)
{
    char text[1024];
    int step = pick(g, 2) ? 2 : 4;
    if (!there(g)) return;
    fm_buf_puts(&g->out, is_a ? "a:" : "d:");
    if (g->nulls && pick(g, 4) == 0) {
        fm_buf_puts(&g->out, pick(g, 2) ? "" : " null");
        line_end(g);
        return;
    }
    if (g->flow && pick(g, 2)) {
        fm_buf_printf(&g->out, " %s", flow_text(g, text, is_a, 0, pick(g, 2)));
        line_end(g);
        return;
    }
    line_end(g);
    indent(g, step);
    fm_buf_puts(&g->out, "first: 1\n");
    if (is_a) block_target(g, step, "b", FM_TARGET_B);
    block_filler(g, step, "h");
    if (is_a) block_target(g, step, "c", FM_TARGET_C);
    else block_target(g, step, "list", FM_TARGET_LIST);
    if (!is_a && there(g)) {
        indent(g, step);
        fm_buf_puts(&g->out, "e:\n");
        indent(g, 2 * step);
        fm_buf_puts(&g->out, "second: [1]\n");
        block_target(g, 2 * step, "f", FM_TARGET_F);
        block_filler(g, 2 * step, "i");
    }
    block_filler(g, step, "j");
}

static void yaml_text(gen *g)
{
    if (pick(g, 3) == 0) fm_buf_puts(&g->out, "# head\n");
    if (pick(g, 4) == 0) fm_buf_puts(&g->out, "---\n");
    fm_buf_puts(&g->out, "name: test\n");
    block_filler(g, 0, "k");
    bool swapped = pick(g, 2);
    block_parent(g, swapped);
    block_filler(g, 0, "l");
    block_target(g, 0, "g", FM_TARGET_G);
    block_parent(g, !swapped);
    block_filler(g, 0, "m");
}

static void json_text(gen *g)
{
    char a[1024], d[1024], text[4][1100];
    const char *members[4] = { "\"name\": \"te\\\"st\"", NULL, NULL, NULL };
    bool lines = pick(g, 2);
    if (there(g)) {
        (void)snprintf(text[1], sizeof text[1], "\"a\": %s", flow_text(g, a, true, 2, lines && pick(g, 2)));
        members[1] = text[1];
    }
    members[2] = member(g, text[2], "g", FM_TARGET_G);
    if (there(g)) {
        (void)snprintf(text[3], sizeof text[3], "\"d\": %s", flow_text(g, d, false, 2, lines && pick(g, 2)));
        members[3] = text[3];
    }
    if (!g->all && pick(g, 4) == 0) members[0] = NULL;
    flow_mapping(g, members, 4, lines, 0);
    fm_buf_puts(&g->out, "\n");
}

/* the same with other line ends, a byte-order mark, tabs for JSON's indentation, no newline at the end */
static void disguise(gen *g)
{
    struct fm_buf out = FM_BUF(1 << 16);
    bool crlf = pick(g, 4) == 0, tabs = g->json && pick(g, 4) == 0;
    const char *text = fm_buf_text(&g->out);
    size_t bytes = g->out.bytes;
    /* a block of text at the end needs its newline */
    if (pick(g, 3) == 0 && !(bytes > 5 && memcmp(text + bytes - 5, "b: 3\n", 5) == 0)) while (bytes && text[bytes - 1] == '\n') bytes--;
    if (!g->json && pick(g, 8) == 0) fm_buf_puts(&out, "\xef\xbb\xbf");
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\n' && crlf) fm_buf_putc(&out, '\r');
        if (tabs && text[i] == ' ' && text[i + 1] == ' ') fm_buf_putc(&out, '\t'), i++;
        else fm_buf_putc(&out, text[i]);
    }
    assert_true(fm_buf_ok(&out) && fm_buf_ok(&g->out));
    fm_buf_release(&g->out);
    g->out = out;
}

void fm_test_random_text(struct fm_random_text *g)
{
    g->out = FM_BUF(1 << 16);
    if (g->json) json_text(g);
    else yaml_text(g);
    disguise(g);
}
