// Statistics on disk: one safetensors file per content key. A file that does not read back right is computed again.
#include <cstring>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/sha256.h"
#include "core/calibration/stats.h"
#include "core/checkpoint/safetensors_file.h"

namespace mla {
namespace {

// Every tensor of a layer's statistics under its name in the file.
template <class Stats, class Visit>
void each_tensor(Stats& s, const Visit& visit) {
  visit("mean", s.input.mean), visit("second", s.input.second);
  visit("projections.mean", s.projections.mean), visit("projections.second", s.projections.second);
  visit("attended.mean", s.attended.mean), visit("attended.second", s.attended.second);
  visit("query", s.pairs.query), visit("key", s.pairs.key);
  visit("gradients.key", s.gradients.key), visit("gradients.value", s.gradients.value), visit("gradients.residual", s.gradients.residual);
  visit("gradients.key_fisher", s.gradients.key_fisher), visit("gradients.value_fisher", s.gradients.value_fisher);
  visit("rows.query", s.rows.query), visit("rows.key", s.rows.key);
  visit("latents.key_value", s.latents.key_value), visit("latents.query", s.latents.query);
}

std::vector<std::pair<std::string, at::Tensor>> flatten(const CalibrationStats& stats) {
  std::vector<std::pair<std::string, at::Tensor>> flat;
  for (std::size_t i = 0; i < stats.size(); ++i) {
    const std::string prefix = std::to_string(i) + '.';
    flat.emplace_back(prefix + "tokens", at::tensor({stats[i].input.tokens, stats[i].projections.tokens, stats[i].gradients.tokens}, at::kLong));
    each_tensor(stats[i], [&](const char* name, const at::Tensor& tensor) {
      if (tensor.defined()) flat.emplace_back(prefix + name, tensor.contiguous());
    });
  }
  return flat;
}

at::Tensor read(const SafetensorsFile& file, const std::string& name) {
  const auto found = file.tensors().find(name);
  if (found == file.tensors().end()) return {};
  at::Tensor tensor = at::empty(found->second.shape, found->second.type == SafeType::i64 ? at::kLong : found->second.type == SafeType::f32 ? at::kFloat : at::kDouble);
  std::memcpy(tensor.data_ptr(), found->second.bytes.data(), found->second.bytes.size());
  return tensor;
}

SafeType type_of(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kLong ? SafeType::i64 : tensor.scalar_type() == at::kFloat ? SafeType::f32 : SafeType::f64;
}

void save(const CalibrationStats& stats, const std::filesystem::path& path) {
  const auto flat = flatten(stats);
  std::vector<SafeEntry> entries;
  std::string body;
  for (const auto& [name, tensor] : flat) {
    entries.push_back({name, type_of(tensor), tensor.sizes().vec(), tensor.nbytes()});
    body.append(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
  }
  const std::string content = safetensors_header(entries) + body;
  write_file_atomically(path, content);
  write_file_atomically(path.string() + ".sha256", sha256_hex(content));
}

// Empty when the file is absent or not what was written.
CalibrationStats load(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path) || !std::filesystem::exists(path.string() + ".sha256")) return {};
  try {
    if (sha256_hex(read_text_file(path)) != read_text_file(path.string() + ".sha256"))
      fail<CheckpointError>("cache", "the content of ", path.string(), " is not what was written");
    const SafetensorsFile file(path);
    CalibrationStats stats;
    for (std::size_t i = 0; file.tensors().count(std::to_string(i) + ".tokens") > 0; ++i) {
      const std::string prefix = std::to_string(i) + '.';
      LayerStats layer;
      const at::Tensor tokens = read(file, prefix + "tokens");
      layer.input.tokens = tokens[0].item<int64_t>();
      layer.projections.tokens = tokens[1].item<int64_t>();
      layer.gradients.tokens = tokens[2].item<int64_t>();
      each_tensor(layer, [&](const char* name, at::Tensor& tensor) { tensor = read(file, prefix + name); });
      stats.push_back(std::move(layer));
    }
    return stats;
  } catch (const Error& error) {
    warn(std::string(error.what()) + "; the statistics are computed again");
    return {};
  }
}

}  // namespace

CalibrationStats cached_stats(const std::string& key, const std::function<CalibrationStats()>& collect, bool* hit) {
  const std::filesystem::path folder = cache_root() / "stats", path = folder / (sha256_hex(key) + ".safetensors");
  CalibrationStats stats = load(path);
  if (hit != nullptr) *hit = !stats.empty();
  if (!stats.empty()) return stats;
  stats = collect();
  try {
    std::filesystem::create_directories(folder);
    save(stats, path);
  } catch (const std::exception& error) {
    warn(std::string("the statistics were not cached: ") + error.what());
  }
  return stats;
}

}  // namespace mla
