/* What a person reads while fillmark works: always on stderr, never part of a result. */
#ifndef FM_TUNER_BASE_LOG_H
#define FM_TUNER_BASE_LOG_H

enum fm_log_level { FM_LOG_ERROR, FM_LOG_WARN, FM_LOG_INFO, FM_LOG_DEBUG };

void fm_log_set_level(enum fm_log_level level);         /* default INFO */
void fm_log(enum fm_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
