// Tensors on disk under a key that names everything which determines them: statistics, decompositions. A file that does not
// read back right is computed again; a cache that cannot be written is a warning.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace mla {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;  // fp64, fp32, fp16, bf16 or int64, on the CPU

// From `<cache root>/<folder>/<sha256 of key>.safetensors`, else from compute(), whose result is written there.
NamedTensors cached_tensors(const std::string& folder, const std::string& key, const std::function<NamedTensors()>& compute,
                            bool* hit = nullptr);

// Its two halves, for a cache that decides itself what it keeps. `find` gives nothing where the file is absent or damaged; `keep` only
// warns where it cannot write.
NamedTensors find_cached_tensors(const std::string& folder, const std::string& key);
void keep_cached_tensors(const std::string& folder, const std::string& key, const NamedTensors& tensors);
// Where they lie; the file's hash is beside it under the same name and ".sha256".
std::filesystem::path cached_tensors_file(const std::string& folder, const std::string& key);

// The tensor of that name; undefined where there is none.
at::Tensor find_tensor(const NamedTensors& tensors, const std::string& name);

}  // namespace mla
