#include "probes/protocol/protocol.h"

#include <string.h>

const char *fm_outcome_name(enum fm_outcome outcome)
{
    static const char *const names[] = {
#define X(name, text) #name,
        FM_OUTCOME_LIST(X)
#undef X
    };
    return (unsigned)outcome < FM_OUTCOME_COUNT ? names[outcome] : "unknown";
}

const char *fm_outcome_text(enum fm_outcome outcome)
{
    static const char *const texts[] = {
#define X(name, text) text,
        FM_OUTCOME_LIST(X)
#undef X
    };
    return (unsigned)outcome < FM_OUTCOME_COUNT ? texts[outcome] : "an outcome that is not known";
}

enum fm_outcome fm_outcome_parse(const char *name)
{
    int outcome = 0;
    while (outcome < FM_OUTCOME_COUNT && strcmp(name, fm_outcome_name((enum fm_outcome)outcome)) != 0) outcome++;
    return (enum fm_outcome)outcome;
}
