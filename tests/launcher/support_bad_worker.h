/* A worker that misbehaves as it is told. The test program is its own worker: it starts itself again with
 * FM_TEST_WORKER set, and then main() calls this. The way to behave is FM_TEST_WORKER's value, or, where that is
 * "told", the request's workload; the words are in the source, any other is a good answer. An answer's reason is the
 * id of the process that it leaves behind, if it does. */
#ifndef FM_TESTS_LAUNCHER_SUPPORT_BAD_WORKER_H
#define FM_TESTS_LAUNCHER_SUPPORT_BAD_WORKER_H

_Noreturn void fm_bad_worker(const char *how);

#endif
