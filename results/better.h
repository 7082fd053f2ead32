// The direction of a metric as the store spells it.
#pragma once
#include <string_view>

#include "core/base/metric.h"

namespace mla {

inline const char* better_name(Better better) {
  return better == Better::lower ? "lower" : better == Better::higher ? "higher" : "neither";
}

inline Better better_named(std::string_view name) {
  return name == "lower" ? Better::lower : name == "higher" ? Better::higher : Better::neither;
}

}  // namespace mla
