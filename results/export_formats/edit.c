#include "results/export_formats/edit.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "results/export_formats/doc.h"
#include "results/export_formats/tree.h"
#include "tuner/base/text.h"

#define CHANGES_MAX (FM_VALUE_ITEMS * FM_ENTRIES_MAX + FM_TREE_NODES)
#define POOL_BYTES ((size_t)1 << 20)

struct change {
    size_t at, remove;          /* bytes of the old text */
    size_t from, bytes;         /* of what comes there instead, in the pool */
};

struct editor {
    const struct fm_doc *doc;
    struct fm_tree *tree;
    struct change change[CHANGES_MAX];
    size_t changes;
    struct fm_buf pool;
    const char *newline;
    struct fm_err *err;
};

/* ---- changes ---- */

/* What is put into the pool between the two is the new text. */
static size_t begin(const struct editor *ed)
{
    return ed->pool.bytes;
}

static void end(struct editor *ed, size_t from, size_t at, size_t remove)
{
    assert(ed->changes < CHANGES_MAX);
    const char *made = fm_buf_text(&ed->pool);
    /* a comment right behind a bracket or quote would become part of a word */
    if (ed->doc->text[at + remove] == '#' && ed->pool.bytes > from && !strchr("\r\n", made[ed->pool.bytes - 1])) fm_buf_putc(&ed->pool, ' ');
    ed->change[ed->changes++] = (struct change){ at, remove, from, ed->pool.bytes - from };
}

/* in the order of the text; equal places keep their order: inner additions come before outer ones */
static void sort_changes(struct editor *ed)
{
    for (size_t i = 1; i < ed->changes; i++) {
        struct change c = ed->change[i];
        size_t k = i;
        for (; k > 0 && ed->change[k - 1].at > c.at; k--) ed->change[k] = ed->change[k - 1];
        ed->change[k] = c;
    }
}

static void apply(struct editor *ed, struct fm_buf *out)
{
    size_t at = 0;
    sort_changes(ed);
    for (size_t i = 0; i < ed->changes; i++) {
        const struct change *c = &ed->change[i];
        assert(c->at >= at);
        fm_buf_add(out, ed->doc->text + at, c->at - at);
        fm_buf_add(out, fm_buf_text(&ed->pool) + c->from, c->bytes);
        at = c->at + c->remove;
    }
    fm_buf_add(out, ed->doc->text + at, ed->doc->bytes - at);
}

/* ---- one value ---- */

static enum fm_notation notation(const struct editor *ed)
{
    return ed->doc->json ? FM_NOTATION_JSON : FM_NOTATION_YAML;
}

/* other places of the file hang on it */
static fm_status refuse_shared(const struct editor *ed, size_t node, const char *path)
{
    const struct fm_doc_node *n = &ed->doc->node[node];
    if (n->kind == FM_DOC_ALIAS) return fm_doc_fail(ed->doc, node, ed->err, "%s: is an alias (*name); write its value out", path);
    if (n->anchored) return fm_doc_fail(ed->doc, node, ed->err, "%s: has an anchor (&name), so other keys may hang on it; write them out", path);
    if (n->tagged) return fm_doc_fail(ed->doc, node, ed->err, "%s: has a tag (!name), which the new value may not be", path);
    return FM_OK;
}

static bool may_replace(const struct fm_doc_node *n, const struct fm_entry *e)
{
    enum fm_value_kind kind = fm_doc_kind_of(n);
    if (kind == e->value.kind || kind == FM_VALUE_NULL || (e->accepts >> kind & 1)) return true;
    if (e->value.kind == FM_VALUE_REAL && kind == FM_VALUE_INT) return true;
    return kind == FM_VALUE_TEXT && e->word && strcmp(n->text, e->word) == 0;
}

static bool says_bool(const char *text)
{
    return strchr("tTyY", *text) || strcmp(text, "on") == 0 || strcmp(text, "On") == 0 || strcmp(text, "ON") == 0;
}

/* does the scalar say that already? */
static bool is_same(const struct fm_doc_node *n, const struct fm_value *value)
{
    int64_t number;
    double real;
    enum fm_value_kind kind = fm_doc_kind_of(n);
    if (value->kind == FM_VALUE_REAL)
        return (kind == FM_VALUE_REAL || kind == FM_VALUE_INT) && fm_parse_f64(n->text, &real) && real == value->real;
    if (kind != value->kind) return false;
    switch (kind) {
    case FM_VALUE_NULL: return true;
    case FM_VALUE_BOOL: return says_bool(n->text) == value->on;
    case FM_VALUE_INT: return fm_parse_i64(n->text, &number) && number == value->number;
    case FM_VALUE_TEXT: return strcmp(n->text, value->text) == 0;
    case FM_VALUE_REAL: case FM_VALUE_INTS: break;
    }
    return false;
}

/* An empty value stands right behind its ':', else there is nowhere to put one. */
static fm_status check_empty(const struct editor *ed, size_t node, const char *path)
{
    const struct fm_doc_node *n = &ed->doc->node[node];
    if (n->end > n->start || (n->start && ed->doc->text[n->start - 1] == ':')) return FM_OK;
    return fm_doc_fail(ed->doc, node, ed->err, "%s: has no ':' behind it", path);
}

static void put_scalar(struct editor *ed, const struct fm_doc_node *n, const struct fm_value *value)
{
    if (n->end == n->start) fm_buf_putc(&ed->pool, ' ');
    if (value->kind == FM_VALUE_TEXT && n->style == FM_DOC_DOUBLE_QUOTED) fm_put_quoted(&ed->pool, value->text);
    else if (value->kind == FM_VALUE_TEXT && n->style == FM_DOC_SINGLE_QUOTED && !strchr(value->text, '\''))
        fm_buf_printf(&ed->pool, "'%s'", value->text);
    else fm_put_value(&ed->pool, value, notation(ed));
}

static fm_status replace_scalar(struct editor *ed, size_t node, const struct fm_entry *e, const char *path)
{
    const struct fm_doc_node *n = &ed->doc->node[node];
    fm_status status = refuse_shared(ed, node, path);
    if (status != FM_OK) return status;
    if (n->kind != FM_DOC_SCALAR)
        return fm_doc_fail(ed->doc, node, ed->err, "%s: is a %s, not %s; nothing was written", path,
                           n->kind == FM_DOC_MAPPING ? "mapping" : "list", fm_value_kind_name(e->value.kind));
    if (!may_replace(n, e))
        return fm_doc_fail(ed->doc, node, ed->err, "%s: is %s ('%.40s'), not %s; nothing was written", path,
                           fm_value_kind_name(fm_doc_kind_of(n)), n->text, fm_value_kind_name(e->value.kind));
    if (n->style == FM_DOC_BLOCK) return fm_doc_fail(ed->doc, node, ed->err, "%s: is a block of text; write it on one line", path);
    if (is_same(n, &e->value)) return FM_OK;
    status = check_empty(ed, node, path);
    if (status != FM_OK) return status;
    size_t from = begin(ed);
    put_scalar(ed, n, &e->value);
    end(ed, from, n->start, n->end - n->start);
    return FM_OK;
}

/* a list that is there: number by number */
static fm_status replace_items(struct editor *ed, size_t node, const struct fm_entry *e, const char *path)
{
    const struct fm_doc_node *n = &ed->doc->node[node];
    uint32_t items = 0;
    fm_status status = refuse_shared(ed, node, path);
    if (status != FM_OK) return status;
    for (size_t i = n->first; i != FM_DOC_NONE; i = ed->doc->node[i].next) items++;
    if (items != e->value.items)
        return fm_doc_fail(ed->doc, node, ed->err, "%s: is a list of %u, not of %u; nothing was written", path, items, e->value.items);
    items = 0;
    for (size_t i = n->first; i != FM_DOC_NONE && status == FM_OK; i = ed->doc->node[i].next) {
        struct fm_entry one = { .value = fm_value_int(e->value.item[items++]) };
        status = replace_scalar(ed, i, &one, path);
    }
    return status;
}

static fm_status replace(struct editor *ed, size_t node, const struct fm_entry *e, const char *path)
{
    if (e->value.kind == FM_VALUE_INTS && ed->doc->node[node].kind == FM_DOC_SEQUENCE) return replace_items(ed, node, e, path);
    return replace_scalar(ed, node, e, path);
}

/* ---- keys that are not there yet ---- */

static size_t line_start(const struct editor *ed, size_t at)
{
    while (at > 0 && ed->doc->text[at - 1] != '\n' && ed->doc->text[at - 1] != '\r') at--;
    if (at == 0 && ed->doc->bytes >= 3 && memcmp(ed->doc->text, "\xef\xbb\xbf", 3) == 0) at = 3;
    return at;
}

/* the bytes from the start of the line to `at`, if they are blanks alone; else SIZE_MAX */
static size_t blanks_before(const struct editor *ed, size_t at)
{
    size_t start = line_start(ed, at);
    for (size_t i = start; i < at; i++)
        if (ed->doc->text[i] != ' ' && ed->doc->text[i] != '\t') return SIZE_MAX;
    return at - start;
}

/* how much deeper the file indents: as its first nested key does, else by two */
static int step_of(const struct editor *ed)
{
    const struct fm_doc *doc = ed->doc;
    for (size_t i = 0; i < doc->count; i++) {
        const struct fm_doc_node *n = &doc->node[i];
        if (n->kind != FM_DOC_MAPPING || n->first == FM_DOC_NONE) continue;
        size_t own = blanks_before(ed, doc->node[n->first].start);
        size_t outer = 0;
        if (n->parent != FM_DOC_NONE) {
            if (doc->node[n->parent].kind != FM_DOC_MAPPING) continue;
            outer = blanks_before(ed, doc->node[doc->node[n->parent].first].start);
        }
        if (own != SIZE_MAX && outer != SIZE_MAX && own > outer) return (int)(own - outer);
    }
    return 2;
}

/* the node that ends a block collection: its last child's last child, ... */
static size_t last_of(const struct fm_doc *doc, size_t node)
{
    while (doc->node[node].last != FM_DOC_NONE && !doc->node[node].flow) node = doc->node[node].last;
    return node;
}

static bool is_block_text(const struct fm_doc_node *n)
{
    return n->kind == FM_DOC_SCALAR && n->style == FM_DOC_BLOCK;
}

/* Behind the line on which a node ends; *closed: that line has a newline. A block of text ends with its own. */
static size_t after_line(const struct fm_doc *doc, const struct fm_doc_node *last, bool *closed)
{
    size_t at = last->end;
    if (is_block_text(last) && at > 0 && (doc->text[at - 1] == '\n' || doc->text[at - 1] == '\r')) {
        *closed = true;
        return at;
    }
    while (at < doc->bytes && doc->text[at] != '\n' && doc->text[at] != '\r') at++;
    *closed = at < doc->bytes;
    if (at < doc->bytes && doc->text[at] == '\r' && doc->text[at + 1] == '\n') at++;
    return at < doc->bytes ? at + 1 : at;
}

/* whole lines at a place; without a newline before the place they bring one and leave the last one out */
static void insert_lines(struct editor *ed, size_t node, size_t at, bool closed, int indent)
{
    const struct fm_layout layout = { .indent = indent, .step = step_of(ed), .blank = ' ', .newline = ed->newline };
    size_t from = begin(ed);
    if (!closed) fm_buf_puts(&ed->pool, ed->newline);
    fm_tree_yaml(ed->tree, node, &layout, &ed->pool);
    if (!closed && fm_buf_ok(&ed->pool)) ed->pool.bytes -= strlen(ed->newline);
    end(ed, from, at, 0);
}

static fm_status add_to_block(struct editor *ed, size_t mapping, size_t node)
{
    const struct fm_doc *doc = ed->doc;
    const struct fm_doc_node *key = &doc->node[doc->node[mapping].first];
    size_t column = key->start - line_start(ed, key->start);
    bool closed;
    for (size_t i = line_start(ed, key->start); i < key->start; i++)
        if (doc->text[i] != ' ' && doc->text[i] != '-')
            return fm_doc_fail(doc, doc->node[mapping].first, ed->err, "a key in a form that nothing can be added to; write it as 'key: value' on a line");
    size_t last = last_of(doc, mapping);
    size_t at = after_line(doc, &doc->node[last], &closed);
    if (!closed && is_block_text(&doc->node[last]))
        return fm_doc_fail(doc, last, ed->err, "the file ends within this block of text, without a newline; add one");
    insert_lines(ed, node, at, closed, (int)column);
    return FM_OK;
}

static void add_to_flow(struct editor *ed, size_t mapping, size_t node)
{
    const struct fm_doc *doc = ed->doc;
    const struct fm_doc_node *m = &doc->node[mapping];
    size_t from = begin(ed), key = m->first;
    if (key == FM_DOC_NONE) {
        fm_tree_flow(ed->tree, node, NULL, doc->json, &ed->pool);
        end(ed, from, m->start + 1, 0);
        return;
    }
    while (doc->node[key].next != m->last) key = doc->node[doc->node[key].next].next;
    size_t blanks = blanks_before(ed, doc->node[key].start);
    bool tabs = blanks != SIZE_MAX && blanks && doc->text[doc->node[key].start - 1] == '\t';
    struct fm_layout layout = { .indent = (int)blanks, .step = step_of(ed), .blank = tabs ? '\t' : ' ', .newline = ed->newline };
    fm_buf_putc(&ed->pool, ',');
    if (blanks == SIZE_MAX) fm_buf_putc(&ed->pool, ' ');
    else fm_buf_puts(&ed->pool, ed->newline);
    for (size_t i = 0; blanks != SIZE_MAX && i < blanks; i++) fm_buf_putc(&ed->pool, layout.blank);
    fm_tree_flow(ed->tree, node, blanks == SIZE_MAX ? NULL : &layout, doc->json, &ed->pool);
    end(ed, from, doc->node[m->last].end, 0);
}

/* ---- a mapping ---- */

static fm_status visit(struct editor *ed, size_t mapping, size_t node, const char *path);

/* a key that is to have keys below it, where there is nothing yet: "key:" or "key: null" */
static fm_status fill_null(struct editor *ed, size_t value, size_t node, const char *path)
{
    const struct fm_doc_node *n = &ed->doc->node[value];
    fm_status status = check_empty(ed, value, path);
    if (status != FM_OK) return status;
    size_t from = begin(ed);
    fm_buf_puts(&ed->pool, n->end == n->start ? " {" : "{");
    fm_tree_flow(ed->tree, node, NULL, ed->doc->json, &ed->pool);
    fm_buf_putc(&ed->pool, '}');
    end(ed, from, n->start, n->end - n->start);
    return FM_OK;
}

static fm_status visit_parent(struct editor *ed, size_t value, size_t node, const char *path)
{
    const struct fm_doc_node *n = &ed->doc->node[value];
    fm_status status = refuse_shared(ed, value, path);
    if (status != FM_OK) return status;
    if (n->kind == FM_DOC_MAPPING) return visit(ed, value, node, path);
    if (n->kind == FM_DOC_SCALAR && fm_doc_kind_of(n) == FM_VALUE_NULL) return fill_null(ed, value, node, path);
    return fm_doc_fail(ed->doc, value, ed->err, "%s: is %s, not a mapping; nothing was written", path,
                       n->kind == FM_DOC_SEQUENCE ? "a list" : fm_value_kind_name(fm_doc_kind_of(n)));
}

/* "a.b" of the tree's node below the path */
static void join(char out[FM_ENTRY_PATH_BYTES], const struct fm_tree *tree, size_t node, const char *path)
{
    (void)snprintf(out, FM_ENTRY_PATH_BYTES, "%s%s%.*s", path, *path ? "." : "", (int)tree->node[node].key_bytes, tree->node[node].key);
}

/* One key of the tree in a mapping; skip is set where nothing is to be added. */
static fm_status visit_key(struct editor *ed, size_t mapping, size_t node, const char *path)
{
    const struct fm_tree *tree = ed->tree;
    const struct fm_entry *e = tree->node[node].leaf;
    size_t twice, value = fm_doc_find(ed->doc, mapping, tree->node[node].key, tree->node[node].key_bytes, &twice);
    if (twice != FM_DOC_NONE) return fm_doc_fail(ed->doc, twice, ed->err, "%s: the key is there twice", path);
    if (value == FM_DOC_NONE) {
        size_t merge = fm_doc_find(ed->doc, mapping, "<<", 2, NULL);
        if (e || merge == FM_DOC_NONE) return FM_OK;
        return fm_doc_fail(ed->doc, merge, ed->err, "%s: may come from here (<<); write it out", path);
    }
    ed->tree->node[node].skip = true;
    if (!e) {
        fm_status status = visit_parent(ed, value, node, path);
        return status;
    }
    return e->keep ? FM_OK : replace(ed, value, e, path);
}

static fm_status visit(struct editor *ed, size_t mapping, size_t node, const char *path)
{
    bool add = false;
    for (size_t i = ed->tree->node[node].first; i != FM_TREE_NONE; i = ed->tree->node[i].next) {
        char below[FM_ENTRY_PATH_BYTES];
        join(below, ed->tree, i, path);
        fm_status status = visit_key(ed, mapping, i, below);
        if (status != FM_OK) return status;
        add = add || !ed->tree->node[i].skip;
    }
    if (!add) return FM_OK;
    if (!ed->doc->node[mapping].flow) return add_to_block(ed, mapping, node);
    add_to_flow(ed, mapping, node);
    return FM_OK;
}

/* a file of blanks and comments */
static fm_status fill_empty(struct editor *ed)
{
    const struct fm_doc *doc = ed->doc;
    for (size_t i = 0; i + 3 <= doc->bytes; i++)
        if (memcmp(doc->text + i, "...", 3) == 0 && line_start(ed, i) == i)
            return FM_FAIL(ed->err, FM_INVALID, "%s: ends with '...' before any key; remove that line", doc->name);
    bool closed = !doc->bytes || doc->text[doc->bytes - 1] == '\n' || doc->text[doc->bytes - 1] == '\r' ||
                  line_start(ed, doc->bytes) == doc->bytes;
    insert_lines(ed, 0, doc->bytes, closed, 0);
    return FM_OK;
}

/* ---- the whole ---- */

/* the path of an entry in this file */
static size_t find_path(const struct fm_doc *doc, const char *path, size_t bytes)
{
    size_t node = doc->root;
    for (size_t at = 0; at < bytes && node != FM_DOC_NONE;) {
        size_t n = strcspn(path + at, ".");
        if (n > bytes - at) n = bytes - at;
        if (doc->node[node].kind != FM_DOC_MAPPING) return FM_DOC_NONE;
        node = fm_doc_find(doc, node, path + at, n, NULL);
        at += n + 1;
    }
    return node;
}

static const char *path_in(const struct fm_entry *e, const void *context)
{
    const struct fm_doc *doc = context;
    const char *dot = e->instead ? strrchr(e->instead, '.') : NULL;
    if (!dot) return e->path;
    size_t parent = find_path(doc, e->instead, (size_t)(dot - e->instead));
    return parent != FM_DOC_NONE && doc->node[parent].kind == FM_DOC_MAPPING ? e->instead : e->path;
}

static bool says(const struct fm_doc *doc, const struct fm_entry *e)
{
    const char *path = path_in(e, doc);
    size_t node = find_path(doc, path, strlen(path));
    if (node == FM_DOC_NONE) return false;
    const struct fm_doc_node *n = &doc->node[node];
    if (e->keep) return true;
    if (e->value.kind != FM_VALUE_INTS) return n->kind == FM_DOC_SCALAR && is_same(n, &e->value);
    uint32_t items = 0;
    if (n->kind != FM_DOC_SEQUENCE) return false;
    for (size_t i = n->first; i != FM_DOC_NONE; i = doc->node[i].next, items++) {
        struct fm_value item = fm_value_int(items < e->value.items ? e->value.item[items] : 0);
        if (items >= e->value.items || doc->node[i].kind != FM_DOC_SCALAR || !is_same(&doc->node[i], &item)) return false;
    }
    return items == e->value.items;
}

/* the new text, read again, says what was asked for */
static fm_status check(const char *name, const struct fm_buf *text, const struct fm_entries *entries, struct fm_err *err)
{
    struct fm_doc doc;
    struct fm_err cause = { 0 };
    fm_status status = fm_doc_read(name, fm_buf_text(text), text->bytes, &doc, &cause);
    if (status == FM_NOMEM) return FM_FAIL(err, FM_NOMEM, "%s", cause.text);
    if (status != FM_OK) return FM_FAIL(err, FM_FAILED, "%s: the edited text would be damaged (%s); nothing was written, please report this", name, cause.text);
    for (size_t i = 0; i < entries->count && status == FM_OK; i++)
        if (!says(&doc, &entries->entry[i]))
            status = FM_FAIL(err, FM_FAILED, "%s: %s could not be set; nothing was written, please report this", name, entries->entry[i].path);
    fm_doc_release(&doc);
    return status;
}

static const char *newline_of(const char *text)
{
    size_t at = strcspn(text, "\r\n");
    if (text[at] == '\r') return text[at + 1] == '\n' ? "\r\n" : "\r";
    return "\n";
}

fm_status fm_edit(const char *name, const char *text, size_t bytes, const struct fm_entries *entries, struct fm_buf *out,
                  struct fm_err *err)
{
    struct fm_doc doc;
    struct fm_tree tree;
    struct fm_buf made = FM_BUF(FM_DOC_MAX_BYTES + POOL_BYTES);
    struct editor ed = { .doc = &doc, .tree = &tree, .pool = FM_BUF(POOL_BYTES), .newline = newline_of(text), .err = err };
    fm_status status = fm_doc_read(name, text, bytes, &doc, err);
    if (status != FM_OK) return status;
    fm_tree_of(entries, path_in, &doc, &tree);
    if (doc.root == FM_DOC_NONE) status = fill_empty(&ed);
    else if (refuse_shared(&ed, doc.root, "the file") != FM_OK) status = FM_INVALID;
    else status = visit(&ed, doc.root, 0, "");
    if (status == FM_OK && !fm_buf_ok(&ed.pool)) status = FM_FAIL(err, FM_NOMEM, "%s: no memory for its new text", name);
    if (status == FM_OK) {
        apply(&ed, &made);
        if (!fm_buf_ok(&made)) status = FM_FAIL(err, FM_NOMEM, "%s: no memory for its new text", name);
    }
    fm_doc_release(&doc);
    if (status == FM_OK) status = check(name, &made, entries, err);
    if (status == FM_OK) {
        fm_buf_add(out, fm_buf_text(&made), made.bytes);
        if (!fm_buf_ok(out)) status = FM_FAIL(err, FM_NOMEM, "%s: no memory for its new text", name);
    }
    fm_buf_release(&made);
    fm_buf_release(&ed.pool);
    return status;
}
