// The range of one axis of a chart, and where a value lies in it.
#pragma once
#include <string>
#include <vector>

namespace mla {

struct Axis {
  double low = 0, high = 1;
  bool logarithmic = false;

  double share_of(double value) const;  // 0 at low, 1 at high
  double value_at(double share) const;
};

Axis x_axis(const std::vector<double>& values, bool logarithmic = false);  // logarithmic: positive values only
// Logarithmic where the values span more than a factor of ten and all are positive.
Axis y_axis(const std::vector<double>& values, bool may_be_logarithmic = true);

// "20, 50, 100": where a logarithmic axis is marked; each power of ten, with 2 and 5 between when there are few.
std::string log_tics(const Axis& axis);

}  // namespace mla
