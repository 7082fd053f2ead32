#include "eval/stored_hidden.h"

#include <ATen/Version.h>

#include <algorithm>
#include <chrono>

#include "core/base/cache_limit.h"
#include "core/base/sha256.h"
#include "core/calibration/tensor_cache.h"

namespace mla {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFolder = "hidden";
constexpr const char* kName = "hidden";
constexpr const char* kVersion = "last hidden states 2\n";  // rises when a model's numbers change
constexpr uintmax_t kFileOverhead = 4096;                   // header, hash file
constexpr std::chrono::seconds kClockStep{2};               // file systems stamp by coarser clocks: a new file can look that much older

// Sizes and values of int64 numbers.
std::string spelled(const at::Tensor& numbers) {
  const at::Tensor plain = numbers.to(at::kCPU, at::kLong).contiguous();
  std::string text;
  for (const int64_t size : plain.sizes()) text += std::to_string(size) + ' ';
  return text + sha256_hex({static_cast<const char*>(plain.const_data_ptr()), plain.nbytes()}) + '\n';
}

bool stands_alone(const Segment& segment) { return !segment.mask.defined() && segment.cache == nullptr && segment.prefix == nullptr; }

}  // namespace

StoredHidden::StoredHidden(LanguageModel& model, std::string model_key, const HiddenCacheOptions& options)
    : model_(model), model_key_(kVersion + model_key + '\n' + at::get_cpu_capability() + '\n'), options_(options), started_(fs::file_time_type::clock::now() - kClockStep) {}

template <class Compute>
at::Tensor StoredHidden::answer(const std::string& call, int64_t tokens, const Compute& compute) {
  if (!options_.on) {
    computed_ += tokens;
    return compute();
  }
  const std::string key = model_key_ + call;
  if (const at::Tensor known = find_tensor(find_cached_tensors(kFolder, key), kName); known.defined()) {
    std::error_code ignored;  // it may have been removed since
    fs::last_write_time(cached_tensors_file(kFolder, key), fs::file_time_type::clock::now(), ignored);
    found_ += tokens;
    return known.to(model_.head().device());
  }
  computed_ += tokens;
  const at::Tensor hidden = compute();
  if (!hidden.isfinite().all().template item<bool>()) return hidden;
  const auto limit = static_cast<uintmax_t>(std::max<int64_t>(options_.limit_mb, 0)) * 1'000'000;
  if (make_room(cached_tensors_file(kFolder, key).parent_path(), hidden.nbytes() + kFileOverhead, limit, started_))
    keep_cached_tensors(kFolder, key, {{kName, hidden.to(at::kCPU).contiguous()}});
  else
    full_ = true;
  return hidden;
}

at::Tensor StoredHidden::last_hidden(const at::Tensor& ids) {
  return answer("rows " + spelled(ids), ids.numel(), [&] { return model_.last_hidden(ids); });
}

at::Tensor StoredHidden::packed_hidden(const at::Tensor& ids, const std::vector<Segment>& segments) {
  if (!std::all_of(segments.begin(), segments.end(), stands_alone)) return model_.packed_hidden(ids, segments);
  std::string call = "packed " + spelled(ids);
  for (const Segment& segment : segments) call += spelled(segment.positions);
  return answer(call, ids.numel(), [&] { return model_.packed_hidden(ids, segments); });
}

}  // namespace mla
