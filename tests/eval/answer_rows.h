// Answers kept in memory.
#pragma once
#include <vector>

#include "core/base/metric.h"

namespace mla::test {

struct AnswerRows : AnswerSink {
  std::vector<AnswerRow> rows;
  void add(const std::vector<AnswerRow>& more) override { rows.insert(rows.end(), more.begin(), more.end()); }
};

}  // namespace mla::test
