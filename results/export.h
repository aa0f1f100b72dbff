/* A result for programs, and all the files of a run's folder.
 *
 * result.json is {"schema", "tool", "started", "host", "seed", "config", "complete", "torn", "devices"[], "rows"[],
 * "cells"[], "time"{}}; docs/schema/result.schema.json says what each field is. null: not known. Integers beyond 2^53,
 * hashes and seeds are strings. rows.jsonl has the same rows, one a line, each with what it needs to stand alone:
 * "schema", "tool", "seed" and "fingerprint" (its device). */
#ifndef FM_RESULTS_EXPORT_H
#define FM_RESULTS_EXPORT_H

#include "results/fold.h"

#define FM_RESULT_SCHEMA "fillmark.result/1"
#define FM_ROW_SCHEMA "fillmark.row/1"

/* the caller deletes *out with cJSON_Delete; NOMEM */
fm_status fm_result_json(const struct fm_result *result, cJSON **out, struct fm_err *err) FM_MUST_USE;
/* appends; on one line if compact, else indented. NOMEM */
fm_status fm_result_json_text(const struct fm_result *result, bool compact, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;
fm_status fm_result_rows_text(const struct fm_result *result, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;

/* rows.jsonl, table.csv, table.md and result.json of the folder, each replaced as a whole. IO, NOMEM */
fm_status fm_result_write(const struct fm_result *result, const char *folder, struct fm_err *err) FM_MUST_USE;

#endif
