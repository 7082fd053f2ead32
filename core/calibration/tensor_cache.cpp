#include "core/calibration/tensor_cache.h"

#include <cstring>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/sha256.h"
#include "core/checkpoint/safetensors_file.h"

namespace mla {
namespace {

namespace fs = std::filesystem;

SafeType type_of(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kLong ? SafeType::i64 : tensor.scalar_type() == at::kFloat ? SafeType::f32 : SafeType::f64;
}

fs::path hash_of(const fs::path& path) { return path.string() + ".sha256"; }

void save(const NamedTensors& tensors, const fs::path& path) {
  std::vector<SafeEntry> entries;
  std::string body;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor whole = tensor.contiguous();
    entries.push_back({name, type_of(whole), whole.sizes().vec(), whole.nbytes()});
    body.append(static_cast<const char*>(whole.const_data_ptr()), whole.nbytes());
  }
  const std::string content = safetensors_header(entries) + body;
  write_file_atomically(path, content);
  write_file_atomically(hash_of(path), sha256_hex(content));
}

at::Tensor read(const SafeTensor& stored) {
  at::Tensor tensor = at::empty(stored.shape, stored.type == SafeType::i64 ? at::kLong : stored.type == SafeType::f32 ? at::kFloat : at::kDouble);
  if (!stored.bytes.empty()) std::memcpy(tensor.data_ptr(), stored.bytes.data(), stored.bytes.size());
  return tensor;
}

// Empty when the file is absent or not what was written.
NamedTensors load(const fs::path& path) {
  if (!fs::exists(path) || !fs::exists(hash_of(path))) return {};
  try {
    const std::string wanted = read_text_file(hash_of(path));
    {
      const MappedFile file(path);
      if (sha256_hex({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}) != wanted)
        fail<CheckpointError>("cache", "the content of ", path.string(), " is not what was written");
    }
    const SafetensorsFile file(path);
    NamedTensors tensors;
    for (const auto& [name, stored] : file.tensors()) tensors.emplace_back(name, read(stored));
    return tensors;
  } catch (const Error& error) {
    warn(std::string(error.what()) + "; it is computed again");
    return {};
  }
}

}  // namespace

NamedTensors cached_tensors(const std::string& folder, const std::string& key, const std::function<NamedTensors()>& compute, bool* hit) {
  const fs::path root = cache_root() / folder, path = root / (sha256_hex(key) + ".safetensors");
  NamedTensors tensors = load(path);
  if (hit != nullptr) *hit = !tensors.empty();
  if (!tensors.empty()) return tensors;
  tensors = compute();
  try {
    fs::create_directories(root);
    save(tensors, path);
  } catch (const std::exception& error) {
    warn("the cache " + root.string() + " was not written: " + error.what());
  }
  return tensors;
}

at::Tensor find_tensor(const NamedTensors& tensors, const std::string& name) {
  for (const auto& [known, tensor] : tensors)
    if (known == name) return tensor;
  return {};
}

}  // namespace mla
