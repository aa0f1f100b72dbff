/* The step program: every kernel call, allocation and free of one training step and of one validation step,
 * in the order PyTorch eager makes them. Planner and worker replay the same list (probes/memory/replay.h).
 *
 * A program has sections, run in this order by whoever replays it:
 *   INIT         parameters, buffers and resident inputs come into being
 *   TRAIN_FIRST  the first optimizer step (optimizer state appears in it)
 *   TRAIN        every later step
 *   VAL_FIRST    validation enters: its first batch
 *   VAL          every later validation batch
 *   VAL_EXIT     validation's locals die; TRAIN may follow again
 * A *storage* is a register that holds a block of memory: ALLOC fills it, FREE empties it, MOVE renames
 * (a Python name is rebound across iterations). Across sections a storage keeps what it holds.
 *
 * Ownership: a program owns its arrays; operands and calls are borrowed by views of it.
 * Source: rules 13-35 and 52-70 of docs/memory-model.md decide the order; this file only holds it. */
#ifndef FM_WORKLOADS_PROGRAM_PROGRAM_H
#define FM_WORKLOADS_PROGRAM_PROGRAM_H

#include "tuner/base/buf.h"
#include "tuner/base/status.h"
#include "workloads/program/dtype.h"
#include "workloads/program/kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FM_MAX_DIMS 6
#define FM_NONE UINT32_MAX

enum fm_section { FM_SECTION_INIT, FM_SECTION_TRAIN_FIRST, FM_SECTION_TRAIN, FM_SECTION_VAL_FIRST,
                  FM_SECTION_VAL, FM_SECTION_VAL_EXIT, FM_SECTION_COUNT };
const char *fm_section_name(enum fm_section section);

/* what a storage is for: the breakdown of a peak */
#define FM_STORAGE_LIST(X) X(PARAMETER, "parameters") X(BUFFER, "buffers") X(GRADIENT, "gradients") X(OPTIMIZER, "optimizer") \
    X(ACTIVATION, "activations") X(INPUT, "inputs")
#define X(name, text) FM_STORAGE_##name,
enum fm_storage_kind { FM_STORAGE_LIST(X) FM_STORAGE_KIND_COUNT };
#undef X
const char *fm_storage_kind_name(enum fm_storage_kind kind);

struct fm_storage {
    int64_t bytes;          /* as requested: the allocator rounds */
    uint32_t label;         /* offset of a name in program->names */
    uint8_t kind;           /* enum fm_storage_kind */
    uint8_t dtype;          /* of the tensor that created it */
    uint16_t reserved;
};

/* A strided view of a storage. Strides and offset are in elements, in PyTorch's logical order.
 *
 * channels and spatial describe the tensor the storage was created for, when that was an image-like
 * (B, channels, spatial...) dense tensor; 0 when not. A backend that keeps such storages channels-last stores
 * logical element b*C*S + c*S + s at b*C*S + s*C + c; fm_operand_channels_last() rewrites a view accordingly. */
struct fm_operand {
    uint32_t storage;       /* FM_NONE: an absent optional operand */
    uint8_t dtype;          /* enum fm_dtype */
    uint8_t ndim;
    uint16_t reserved;
    uint32_t channels, spatial;
    int64_t offset;
    int64_t size[FM_MAX_DIMS], stride[FM_MAX_DIMS];
};

struct fm_attr {
    int32_t stride[3], padding[3], dilation[3];     /* conv: in the order of the spatial dims; unused 0 */
    int32_t groups;                                 /* conv, group norm */
    uint8_t transposed, mode, dim, amsgrad, decoupled, nesterov;
    uint8_t tf32;                                   /* conv, matmul of f32: tensor cores may round operands to TF32 */
    uint8_t benchmark;                              /* conv: the implementation that is fastest is taken (rule 40) */
    double alpha, beta;                             /* by kernel; Adam: beta1, beta2 */
    double eps, momentum;
    double lr, weight_decay;
    int64_t ignore_index;
    uint64_t stream;                                /* random stream */
};

struct fm_call {
    uint16_t kernel;                                /* enum fm_kernel */
    uint16_t reserved;
    uint32_t n_out, n_in;
    uint32_t operand;                               /* first, of n_out then n_in */
    uint32_t attr;                                  /* index; attr[0] is all zero */
    uint32_t label;                                 /* offset of a name in program->names: "dec1.conv1.wgrad" */
    uint64_t key;                                   /* of its problem (fm_problem_key), 0 if the kernel takes no workspace */
};

enum fm_instr_kind { FM_ALLOC, FM_FREE, FM_MOVE, FM_CALL, FM_PHASE, FM_LOSS };
/* ALLOC a; FREE a; MOVE a <- b; CALL a (index of the call); PHASE a (enum fm_phase);
 * LOSS a: storage a's first element is the loss, now: whoever executes may read it */
struct fm_instr { uint32_t kind, a, b; };

enum fm_phase { FM_PHASE_FORWARD, FM_PHASE_BACKWARD, FM_PHASE_OPTIMIZER, FM_PHASE_COUNT };

struct fm_program {
    struct fm_instr *instr;
    struct fm_call *call;
    struct fm_operand *operand;
    struct fm_attr *attr;
    struct fm_storage *storage;
    char *names;                                    /* NUL-separated; offset 0 is "" */
    size_t instr_count, call_count, operand_count, attr_count, storage_count, name_bytes;
    size_t instr_room, call_room, operand_room, attr_room, storage_room, name_room;
    size_t section[FM_SECTION_COUNT + 1];           /* section s is instr[section[s] .. section[s + 1]) */
    int64_t samples;                                /* of one optimizer step: batch x accumulation */
    bool failed;                                    /* host memory ran out while building: sticky */
};

/* Building: appends never fail visibly; check fm_program_finish(). */
void fm_program_release(struct fm_program *program);
void fm_program_clear(struct fm_program *program);          /* keeps its arrays for the next one */
/* room for a program like this one, so that arrays need not grow; without memory they will */
void fm_program_reserve(struct fm_program *program, const struct fm_program *like);
uint32_t fm_program_storage(struct fm_program *program, struct fm_storage storage);
uint32_t fm_program_name(struct fm_program *program, const char *name);
uint32_t fm_program_attr(struct fm_program *program, const struct fm_attr *attr);
void fm_program_instr(struct fm_program *program, enum fm_instr_kind kind, uint32_t a, uint32_t b);
/* Room for the operands of the next call, to be filled in place and given to it; no other append in between. NULL: failed. */
struct fm_operand *fm_program_operands(struct fm_program *program, size_t count);
/* appends the call and its CALL instruction; operands are copied unless they are in place; returns its index */
uint32_t fm_program_call(struct fm_program *program, const struct fm_call *call, const struct fm_operand *operands);
void fm_program_begin(struct fm_program *program, enum fm_section section);      /* in ascending order */
/* closes the last section; FM_NOMEM if any append failed */
fm_status fm_program_finish(struct fm_program *program, struct fm_err *err) FM_MUST_USE;

/* Checks what a replay relies on: indices in range, no storage filled twice or read empty, every view inside its
 * storage, sections repeatable. For programs that were read, and for tests. */
fm_status fm_program_check(const struct fm_program *program, struct fm_err *err) FM_MUST_USE;
uint64_t fm_program_hash(const struct fm_program *program);
/* one line an instruction; for people and for diffs */
void fm_program_write(const struct fm_program *program, struct fm_buf *out);

/* A problem: one call seen apart from its program, what a backend is asked about and runs. */
struct fm_problem {
    enum fm_kernel kernel;
    uint32_t n_out, n_in;
    const struct fm_operand *operand;               /* borrowed; outputs first; storage ids mean nothing here */
    const struct fm_attr *attr;
};
struct fm_problem fm_program_problem(const struct fm_program *program, uint32_t call);
/* equal for equal shapes, strides, dtypes, layouts and attributes; storage ids, offsets and streams left out */
uint64_t fm_problem_key(const struct fm_problem *problem);
double fm_problem_flops(const struct fm_problem *problem);      /* 2 a multiply-add; 0 for pure data movement */
double fm_problem_bytes(const struct fm_problem *problem);      /* each operand once */

/* Rewrites a view of an image-like storage to channels-last element strides and offset; false if one of its
 * dimensions straddles channels and space (the view has no strides then). Plain storages are left as they are. */
bool fm_operand_channels_last(struct fm_operand *operand);
int64_t fm_operand_numel(const struct fm_operand *operand);
/* row-major dense in its own dimension order? */
bool fm_operand_contiguous(const struct fm_operand *operand);

#endif
