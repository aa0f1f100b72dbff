/* Planning for a GPU that is not here: what its session knows without it. Within tuner/campaign. */
#ifndef FM_TUNER_CAMPAIGN_ABSENT_H
#define FM_TUNER_CAMPAIGN_ABSENT_H

#include "tuner/campaign/session.h"

/* What PyTorch's context and libraries take beyond what its allocator reserves; assumed, no GPU was at hand to measure it
 * (reports: 300 to 430 MiB for the context, rule 12). */
#define FM_FRAMEWORK_BYTES (INT64_C(512) << 20)

/* device, capacity and description from the table; status and error of the question what cuDNN there is: FM_OK or
 * FM_UNSUPPORTED, after which plans are made without workspaces, as the note says */
fm_status fm_absent_describe(struct fm_session *session, struct fm_err *err) FM_MUST_USE;
/* the answer to that question, into session->device and the note */
void fm_absent_answered(struct fm_session *session, const struct fm_reply *inventory, fm_status status, const struct fm_err *why);

/* FM_UNSUPPORTED: the table says that the device has no such type; known without cuDNN */
fm_status fm_absent_can_train(const struct fm_gpu *gpu, const struct fm_cell *cell, struct fm_err *err) FM_MUST_USE;

/* What is known of a program's workspaces without cuDNN: those of products (rule 46), and none for convolutions; and on
 * which GPUs attention in one kernel is unsupported. Adds the
 * problems that the table has not. */
fm_status fm_absent_workspaces(const struct fm_program *program, const struct fm_gpu *gpu, struct fm_workspaces *table,
                               struct fm_err *err) FM_MUST_USE;

#endif
