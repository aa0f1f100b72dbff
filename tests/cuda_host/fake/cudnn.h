/* What the files of the stand-in for cuDNN share: descriptors as lists of what was set. */
#ifndef FM_TESTS_CUDA_HOST_FAKE_CUDNN_H
#define FM_TESTS_CUDA_HOST_FAKE_CUDNN_H

#include "workloads/program/program.h"

#define VALUES 24

struct value { int attribute, type; int64_t count; unsigned char data[256]; };
struct descriptor { int type; bool final; struct value value[VALUES]; int values; int64_t engine, bytes; struct descriptor *graph; };

const struct value *fake_value(const struct descriptor *d, int attribute);      /* NULL: not set */
void *fake_pointer(const struct descriptor *d, int attribute);
int fake_int(const struct descriptor *d, int attribute);
struct fm_operand fake_tensor(const struct descriptor *d);

/* a graph of products, arithmetic, reductions and views, as attention is one */
bool fake_attention_serves(const struct descriptor *graph);
bool fake_attention_final(const struct descriptor *graph);                      /* every part of it is */
/* runs it, operation by operation, with the memory of the tensors that are not virtual */
bool fake_attention_run(const struct descriptor *graph, const struct value *uids, const struct value *pointers);

#endif
