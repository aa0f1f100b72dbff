/* Entries as a tree of keys, written as a block of YAML, as JSON, or as Python's dict(). */
#ifndef FM_RESULTS_EXPORT_FORMATS_TREE_H
#define FM_RESULTS_EXPORT_FORMATS_TREE_H

#include "results/export_formats/value.h"

#define FM_TREE_NODES (3 * FM_ENTRIES_MAX)
#define FM_TREE_NONE SIZE_MAX
#define FM_TREE_DEPTH 8

/* node 0 is the root; children keep the order of the entries */
struct fm_tree {
    struct {
        const char *key;                /* not terminated; into the entry's path */
        size_t key_bytes;
        size_t first, last, next;       /* children; next sibling */
        const struct fm_entry *leaf;    /* NULL: has children */
        bool skip;                      /* with all below it: not written */
    } node[FM_TREE_NODES];
    size_t count;
};

/* borrows the entries; path(entry) says which path is used, NULL: entry->path */
void fm_tree_of(const struct fm_entries *entries, const char *(*path)(const struct fm_entry *entry, const void *context),
                const void *context, struct fm_tree *out);

struct fm_layout {
    int indent, step;                   /* blanks before each key, and more of them for each level below */
    char blank;                         /* ' ' or, in JSON alone, a tab */
    const char *newline;
};

/* "key: value" lines of the node's children, each ended by a newline */
void fm_tree_yaml(const struct fm_tree *tree, size_t node, const struct fm_layout *layout, struct fm_buf *out);
/* the node's children as "k: v, k: {...}", without the outer braces; JSON if json, else YAML's flow. layout NULL: on one
 * line; else each on a line of its own after the first, whose place is the caller's */
void fm_tree_flow(const struct fm_tree *tree, size_t node, const struct fm_layout *layout, bool json, struct fm_buf *out);
/* "key = value" and "key = dict(...)" for each child of the root */
void fm_tree_python(const struct fm_tree *tree, struct fm_buf *out);

#endif
