// Refuses a run that would read or write where it must not: the kernels themselves check nothing.
#pragma once

#include "run.h"

namespace bascule {

// 0, or the position + 1 of the first instruction that is wrong, or a negative number for the run itself.
int64_t check(const Run& run);

// Memory of one worker for a run that has passed the check.
Memory memory_of(const Run& run);

}  // namespace bascule
