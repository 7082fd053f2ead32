// The values of one key of a sweep file, after llama-bench's grammar: lists, ranges with steps or factors.
#pragma once
#include <string>
#include <vector>

#include "core/base/json.h"

namespace mla {

// "1,2,4" -> 1 2 4; "1-4" -> 1 2 3 4; "8-32+8" -> 8 16 24 32; "1-8*2" -> 1 2 4 8; "high" -> high; true -> true; [..] -> the values of each
// element (not cut at commas); null -> "" (the flag stays away). Throws ConfigError naming `where`: no value, a range that runs
// backwards, a step of 0, a factor below 2, more than 10,000 values, an object.
std::vector<std::string> sweep_values(const Json& value, const std::string& where);

}  // namespace mla
