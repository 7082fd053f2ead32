#include "core/model/rope.h"

#include <c10/core/InferenceMode.h>

#include <deque>
#include <string>

namespace mla {
namespace {

// Tables of recent calls: all layers of a model ask for the same one.
struct CachedTable {
  std::string key;
  RopeTable table;
};

std::string table_key(const RopePlan& plan, int64_t start, int64_t count, at::Device device) {
  const at::Tensor frequencies = plan.inv_freq.contiguous();
  std::string key(static_cast<const char*>(frequencies.const_data_ptr()), frequencies.nbytes());
  return key + '/' + std::to_string(plan.rope_heads()) + '/' + std::to_string(plan.attention_factor) + '/' + std::to_string(start) +
         '/' + std::to_string(count) + '/' + device.str();
}

RopeTable make_table(const RopePlan& plan, int64_t start, int64_t count, at::Device device) {
  const c10::InferenceMode normal(false);  // a table may enter a graph, whoever asked for it first
  const at::Tensor positions = at::arange(start, start + count, at::TensorOptions(at::kDouble));
  const at::Tensor angles = positions.view({-1, 1, 1}) * plan.inv_freq.unsqueeze(0);
  const auto to_device = [&](const at::Tensor& t) { return (t * plan.attention_factor).to(device, at::kFloat).contiguous(); };
  return {to_device(angles.cos()), to_device(angles.sin())};
}

}  // namespace

at::Tensor standard_inv_freq(double theta, int64_t head_dim) {
  const at::Tensor exponents = at::arange(0, head_dim, 2, at::TensorOptions(at::kDouble)) / static_cast<double>(head_dim);
  return at::pow(at::Scalar(theta), -exponents);
}

RopeTable rope_table(const RopePlan& plan, int64_t start, int64_t count, at::Device device) {
  constexpr std::size_t kKept = 64;  // two per layer of a model whose layers all differ
  thread_local std::deque<CachedTable> recent;
  const std::string key = table_key(plan, start, count, device);
  for (const CachedTable& entry : recent)
    if (entry.key == key) return entry.table;
  if (recent.size() == kKept) recent.pop_back();
  recent.push_front({key, make_table(plan, start, count, device)});
  return recent.front().table;
}

}  // namespace mla
