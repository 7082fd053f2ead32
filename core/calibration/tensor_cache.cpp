#include "core/calibration/tensor_cache.h"

#include <array>
#include <cstring>
#include <utility>

#include "core/base/error.h"
#include "core/base/file_lock.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/sha256.h"
#include "core/checkpoint/hashed_file.h"
#include "core/checkpoint/safetensors_file.h"

namespace mla {
namespace {

namespace fs = std::filesystem;

constexpr std::array kTypes{std::pair{at::kLong, SafeType::i64}, std::pair{at::kFloat, SafeType::f32}, std::pair{at::kDouble, SafeType::f64},
                            std::pair{at::kHalf, SafeType::f16}, std::pair{at::kBFloat16, SafeType::bf16}};

SafeType type_of(const at::Tensor& tensor) {
  for (const auto& [scalar, stored] : kTypes)
    if (tensor.scalar_type() == scalar) return stored;
  fail<ShapeError>("cache", "wanted a tensor of floating numbers or int64, got ", tensor.scalar_type());
}

at::ScalarType scalar_of(SafeType type) {
  for (const auto& [scalar, stored] : kTypes)
    if (stored == type) return scalar;
  return at::kDouble;
}

fs::path hash_of(const fs::path& path) { return path.string() + ".sha256"; }

void save(const NamedTensors& tensors, const fs::path& path) {
  std::vector<SafeEntry> entries;
  for (const auto& [name, tensor] : tensors) entries.push_back({name, type_of(tensor), tensor.sizes().vec(), tensor.nbytes()});
  HashedFile file(path);
  const std::string header = safetensors_header(entries);
  file.write(header.data(), header.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor whole = tensor.cpu().contiguous();
    file.write(whole.const_data_ptr(), whole.nbytes());
  }
  write_file_atomically(hash_of(path), file.commit());
}

at::Tensor read(const SafeTensor& stored) {
  at::Tensor tensor = at::empty(stored.shape, scalar_of(stored.type));
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

fs::path cached_tensors_file(const std::string& folder, const std::string& key) { return cache_root() / folder / (sha256_hex(key) + ".safetensors"); }

NamedTensors find_cached_tensors(const std::string& folder, const std::string& key) { return load(cached_tensors_file(folder, key)); }

void keep_cached_tensors(const std::string& folder, const std::string& key, const NamedTensors& tensors) {
  const fs::path path = cached_tensors_file(folder, key);
  try {
    fs::create_directories(path.parent_path());
    save(tensors, path);
  } catch (const std::exception& error) {
    warn("the cache " + path.parent_path().string() + " was not written: " + error.what());
  }
}

NamedTensors cached_tensors(const std::string& folder, const std::string& key, const std::function<NamedTensors()>& compute, bool* hit) {
  NamedTensors tensors = find_cached_tensors(folder, key);
  if (hit != nullptr) *hit = !tensors.empty();
  if (!tensors.empty()) return tensors;
  const FileLock lock(cached_tensors_file(folder, key).string() + ".lock", "another process computes what the cache will hold");
  if (lock.waited()) tensors = find_cached_tensors(folder, key);
  if (hit != nullptr) *hit = !tensors.empty();
  if (!tensors.empty()) return tensors;
  tensors = compute();
  keep_cached_tensors(folder, key, tensors);
  return tensors;
}

at::Tensor find_tensor(const NamedTensors& tensors, const std::string& name) {
  for (const auto& [known, tensor] : tensors)
    if (known == name) return tensor;
  return {};
}

}  // namespace mla
