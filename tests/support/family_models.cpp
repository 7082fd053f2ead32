#include "tests/support/family_models.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/checkpoint/safetensors_file.h"
#include "tests/support/bytes.h"

namespace mla::test {
namespace {

uint64_t fnv1a(const std::string& name) {
  uint64_t state = 0xcbf29ce484222325u;
  for (const char byte : name) state = (state ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
  return state;
}

}  // namespace

SplitMix64 formula_bits(const std::string& name) { return SplitMix64(fnv1a(name)); }

const std::vector<std::string>& family_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> found;
    for (const auto& file : fs::directory_iterator(golden("families"))) found.push_back(file.path().stem().string());
    std::sort(found.begin(), found.end());
    return found;
  }();
  return names;
}

const Json& family_golden(const std::string& name) {
  static std::map<std::string, Json> read;
  const auto found = read.find(name);
  return found != read.end() ? found->second : read.emplace(name, read_json_file(golden("families/" + name + ".json"))).first->second;
}

at::Tensor formula_tensor(const std::string& name, const std::vector<int64_t>& shape, bool unit_norms) {
  at::Tensor values = at::empty(shape, at::kDouble);
  SplitMix64 bits = formula_bits(name);
  double* out = values.data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) out[i] = static_cast<double>(bits.next() >> 40) / 8388608.0 - 1.0;  // [-1, 1)
  if (name.find("norm") != std::string::npos) return (unit_norms ? 0.3 * values : 1 + 0.3 * values).to(at::kFloat);
  if (shape.size() == 1) return (0.5 * values).to(at::kFloat);
  if (name.find("embed_tokens") != std::string::npos) return ((unit_norms ? 0.09 : 1.75) * values).to(at::kFloat);
  return (std::sqrt(6.0 / static_cast<double>(shape.back())) * values).to(at::kFloat);
}

std::vector<std::pair<std::string, at::Tensor>> family_tensors(const std::string& name) {
  const Json& golden = family_golden(name);
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [tensor, shape] : golden["tensors"].items()) tensors.emplace_back(tensor, formula_tensor(tensor, shape, golden["unit_norms"]));
  return tensors;
}

void write_safetensors(const std::vector<std::pair<std::string, at::Tensor>>& tensors, const fs::path& file) {
  std::vector<SafeEntry> entries;
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    entries.push_back({name, SafeType::f32, tensor.sizes().vec(), tensor.nbytes()});
    const at::Tensor plain = tensor.contiguous();
    data.append(static_cast<const char*>(plain.const_data_ptr()), plain.nbytes());
  }
  write_bytes(file, safetensors_header(entries) + data);
}

void write_family(const std::string& name, const fs::path& folder) {
  fs::create_directories(folder);
  write_bytes(folder / "config.json", family_golden(name)["config"].dump());
  write_safetensors(family_tensors(name), folder / "model.safetensors");
}

Decoder family_model(const std::string& name) {
  static std::map<std::string, Decoder> loaded;
  if (const auto found = loaded.find(name); found != loaded.end()) return found->second;
  const TemporaryFolder folder;
  write_family(name, folder / "model");
  return loaded.emplace(name, load_decoder(*Checkpoint::open(folder / "model"), at::kCPU, at::kFloat)).first->second;
}

}  // namespace mla::test
