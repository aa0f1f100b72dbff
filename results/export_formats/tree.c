#include "results/export_formats/tree.h"

#include <assert.h>
#include <string.h>

/* ---- the tree ---- */

static size_t add_node(struct fm_tree *tree, size_t parent, const char *key, size_t bytes)
{
    assert(tree->count < FM_TREE_NODES);
    size_t index = tree->count++;
    tree->node[index].key = key;
    tree->node[index].key_bytes = bytes;
    tree->node[index].first = tree->node[index].last = tree->node[index].next = FM_TREE_NONE;
    tree->node[index].leaf = NULL;
    tree->node[index].skip = false;
    if (parent == FM_TREE_NONE) return index;
    if (tree->node[parent].first == FM_TREE_NONE) tree->node[parent].first = index;
    else tree->node[tree->node[parent].last].next = index;
    tree->node[parent].last = index;
    return index;
}

static size_t child_of(struct fm_tree *tree, size_t parent, const char *key, size_t bytes)
{
    assert(!tree->node[parent].leaf);
    for (size_t i = tree->node[parent].first; i != FM_TREE_NONE; i = tree->node[i].next)
        if (tree->node[i].key_bytes == bytes && memcmp(tree->node[i].key, key, bytes) == 0) return i;
    return add_node(tree, parent, key, bytes);
}

void fm_tree_of(const struct fm_entries *entries, const char *(*path)(const struct fm_entry *entry, const void *context),
                const void *context, struct fm_tree *out)
{
    out->count = 0;
    (void)add_node(out, FM_TREE_NONE, "", 0);
    for (size_t i = 0; i < entries->count; i++) {
        const struct fm_entry *entry = &entries->entry[i];
        const char *at = path ? path(entry, context) : entry->path;
        size_t node = 0;
        for (size_t bytes = strcspn(at, ".");; at += bytes + 1, bytes = strcspn(at, ".")) {
            node = child_of(out, node, at, bytes);
            if (!at[bytes]) break;
        }
        assert(!out->node[node].leaf && out->node[node].first == FM_TREE_NONE);     /* each path once */
        out->node[node].leaf = entry;
    }
}

/* ---- as text ---- */

static void put_key(const struct fm_tree *tree, size_t node, enum fm_notation notation, struct fm_buf *out)
{
    struct fm_value key = { .kind = FM_VALUE_TEXT };
    memcpy(key.text, tree->node[node].key, tree->node[node].key_bytes);
    if (notation == FM_NOTATION_PYTHON) fm_buf_puts(out, key.text);
    else fm_put_value(out, &key, notation);
}

static void put_blanks(const struct fm_layout *layout, int count, struct fm_buf *out)
{
    for (int i = 0; i < count; i++) fm_buf_putc(out, layout->blank);
}

void fm_tree_yaml(const struct fm_tree *tree, size_t node, const struct fm_layout *layout, struct fm_buf *out)
{
    for (size_t i = tree->node[node].first; i != FM_TREE_NONE; i = tree->node[i].next) {
        if (tree->node[i].skip) continue;
        put_blanks(layout, layout->indent, out);
        put_key(tree, i, FM_NOTATION_YAML, out);
        fm_buf_putc(out, ':');
        if (tree->node[i].leaf) {
            fm_buf_putc(out, ' ');
            fm_put_value(out, &tree->node[i].leaf->value, FM_NOTATION_YAML);
        }
        fm_buf_puts(out, layout->newline);
        struct fm_layout below = *layout;
        below.indent += layout->step;
        if (!tree->node[i].leaf) fm_tree_yaml(tree, i, &below, out);
    }
}

static void put_break(const struct fm_layout *layout, int indent, struct fm_buf *out)
{
    if (!layout) return;
    fm_buf_puts(out, layout->newline);
    put_blanks(layout, indent, out);
}

void fm_tree_flow(const struct fm_tree *tree, size_t node, const struct fm_layout *layout, bool json, struct fm_buf *out)
{
    enum fm_notation notation = json ? FM_NOTATION_JSON : FM_NOTATION_YAML;
    bool any = false;
    for (size_t i = tree->node[node].first; i != FM_TREE_NONE; i = tree->node[i].next) {
        if (tree->node[i].skip) continue;
        if (any) fm_buf_putc(out, ',');
        if (any && layout) put_break(layout, layout->indent, out);
        else if (any) fm_buf_putc(out, ' ');
        any = true;
        put_key(tree, i, notation, out);
        fm_buf_puts(out, ": ");
        if (tree->node[i].leaf) {
            fm_put_value(out, &tree->node[i].leaf->value, notation);
            continue;
        }
        struct fm_layout below = { 0 };
        if (layout) below = *layout;
        below.indent += below.step;
        fm_buf_putc(out, '{');
        put_break(layout, below.indent, out);
        fm_tree_flow(tree, i, layout ? &below : NULL, json, out);
        put_break(layout, layout ? layout->indent : 0, out);
        fm_buf_putc(out, '}');
    }
}

static void put_dict(const struct fm_tree *tree, size_t node, struct fm_buf *out)
{
    const char *between = "";
    if (tree->node[node].leaf) {
        fm_put_value(out, &tree->node[node].leaf->value, FM_NOTATION_PYTHON);
        return;
    }
    fm_buf_puts(out, "dict(");
    for (size_t i = tree->node[node].first; i != FM_TREE_NONE; i = tree->node[i].next) {
        if (tree->node[i].skip) continue;
        fm_buf_puts(out, between);
        put_key(tree, i, FM_NOTATION_PYTHON, out);
        fm_buf_putc(out, '=');
        put_dict(tree, i, out);
        between = ", ";
    }
    fm_buf_putc(out, ')');
}

void fm_tree_python(const struct fm_tree *tree, struct fm_buf *out)
{
    for (size_t i = tree->node[0].first; i != FM_TREE_NONE; i = tree->node[i].next) {
        if (tree->node[i].skip) continue;
        put_key(tree, i, FM_NOTATION_PYTHON, out);
        fm_buf_puts(out, " = ");
        put_dict(tree, i, out);
        fm_buf_putc(out, '\n');
    }
}
