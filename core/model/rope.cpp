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
  const at::Tensor frequencies = plan.frequencies(start + count).contiguous();
  std::string key(static_cast<const char*>(frequencies.const_data_ptr()), frequencies.nbytes());
  return key + '/' + std::to_string(plan.rope_heads()) + '/' + std::to_string(plan.attention_factor) + '/' + std::to_string(start) +
         '/' + std::to_string(count) + '/' + device.str();
}

RopeTable make_table(const RopePlan& plan, int64_t start, int64_t count, at::Device device) {
  const c10::InferenceMode normal(false);  // a table may enter a graph, whoever asked for it first
  const at::Tensor positions = at::arange(start, start + count, at::TensorOptions(at::kDouble));
  const at::Tensor frequencies = plan.frequencies(start + count);
  const at::Tensor angles = positions.view({-1, 1, 1}) * frequencies.unsqueeze(0);
  const at::Tensor still = frequencies.eq(0);
  const auto to_device = [&](const at::Tensor& t) { return at::where(still, t, t * plan.attention_factor).to(device, at::kFloat).contiguous(); };
  return {to_device(angles.cos()), to_device(angles.sin())};
}

}  // namespace

at::Tensor RopePlan::frequencies(int64_t length) const {
  if (!by_length() || length <= short_length) return inv_freq;
  if (long_inv_freq.defined()) return long_inv_freq;
  const double grown = stretch_factor * static_cast<double>(length) / static_cast<double>(short_length) - (stretch_factor - 1);
  return inv_freq * at::pow(at::Scalar(grown), -stretch);
}

RopePlan RopePlan::pairs(const at::Tensor& index) const {
  RopePlan plan = *this;
  plan.each([&](at::Tensor& t) { t = t.index_select(1, index.to(t.device())); });
  return plan;
}

RopePlan stacked(const std::vector<RopePlan>& plans) {
  RopePlan all = plans.front();
  std::vector<at::Tensor> inv_freq, long_inv_freq, stretch;
  for (const RopePlan& plan : plans) {
    inv_freq.push_back(plan.inv_freq);
    long_inv_freq.push_back(plan.long_inv_freq);
    stretch.push_back(plan.stretch);
  }
  all.inv_freq = at::cat(inv_freq);
  if (all.long_inv_freq.defined()) all.long_inv_freq = at::cat(long_inv_freq);
  if (all.stretch.defined()) all.stretch = at::cat(stretch);
  return all;
}

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
