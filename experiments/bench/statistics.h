// Times of repetitions as llama-bench sums them up, and the ratio of two models that were timed turn by turn.
#pragma once
#include <vector>

#include "eval/means.h"

namespace mla {

double deviation_of(const std::vector<double>& values);  // of a sample (n - 1), 0 for one value

// Student's t with that many degrees of freedom (at least 1) that 97.5 % lie below, to a relative 1e-9.
double t_quantile_975(int degrees);

// Geometric mean of rate_i / reference_i and its 95 % interval: Student's t of the logarithms of the pairs. What slows a repetition of both
// models cancels in its pair. With one pair the interval is unknown: low and high are 0. Throws ShapeError for sizes that differ or are 0.
struct RateRatio {
  double ratio = 0, low = 0, high = 0;
  bool has_interval() const { return high > 0; }
};
RateRatio paired_ratio(const std::vector<double>& rates, const std::vector<double>& reference);

}  // namespace mla
