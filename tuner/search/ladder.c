#include "tuner/search/ladder.h"

#include <stdbool.h>

static bool contains(const int64_t *batches, size_t count, int64_t batch)
{
    for (size_t i = 0; i < count; i++)
        if (batches[i] == batch) return true;
    return false;
}

size_t fm_ladder(int64_t max_batch, const int64_t *measured, size_t measured_count,
                 int64_t batches[FM_LADDER_CAPACITY])
{
    size_t count = 0;
    for (int64_t batch = 1; batch < max_batch && count < FM_LADDER_CAPACITY - 1; batch *= 2)
        if (!contains(measured, measured_count, batch)) batches[count++] = batch;
    if (max_batch >= 1 && !contains(measured, measured_count, max_batch)) batches[count++] = max_batch;
    return count;
}
