// Rows as tests/oracle/kv_cache_goldens.py draws them.
#pragma once
#include <ATen/ATen.h>

#include <vector>

#include "core/base/python_random.h"

namespace mla::test {

// [1,T,width] fp32, each token's first value eight times as large.
inline at::Tensor drawn_rows(uint64_t seed, int64_t tokens, int64_t width) {
  PythonRandom source(seed);
  std::vector<double> values;
  for (int64_t i = 0; i < tokens * width; ++i) values.push_back(4 * (source.random() - 0.5));
  at::Tensor x = at::tensor(values, at::kDouble).view({1, tokens, width});
  x.select(2, 0).mul_(8);
  return x.to(at::kFloat);
}

}  // namespace mla::test
