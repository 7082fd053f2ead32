// LongBench's dataset scores from its samples' scores, rounded as eval.py rounds them.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

namespace mla {

// round(100 * sum / n, 2), as Python does it. Throws ConfigError without a score.
double longbench_average(const std::vector<double>& scores);

// LongBench-E: means of the samples with `length` < 4000, < 8000 and above, as numpy does it; NaN for an empty bucket.
// Throws ConfigError when the lists differ in length.
std::array<double, 3> longbench_e_averages(const std::vector<double>& scores, const std::vector<int64_t>& lengths);

}  // namespace mla
