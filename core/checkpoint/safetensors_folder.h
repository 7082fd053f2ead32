// The tensors of a folder: model.safetensors, or the shards that its index names. Nothing in it is trusted.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/checkpoint/safetensors_file.h"

namespace mla {

class SafetensorsFolder {
 public:
  // Throws CheckpointError: an index that names files elsewhere, a tensor that is in two files or not where the index says.
  explicit SafetensorsFolder(const std::filesystem::path& folder);
  bool has(const std::string& name) const { return owner_.count(name) > 0; }
  std::vector<std::string> names() const;
  std::vector<int64_t> shape(const std::string& name) const;  // CheckpointError when it is missing
  // Fresh contiguous CPU tensor. Throws CheckpointError when it is missing or, as `dtype`, holds a NaN or infinity.
  at::Tensor load(const std::string& name, at::ScalarType dtype) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  void add_file(const std::string& name);
  const SafeTensor& find(const std::string& name) const;
  std::filesystem::path path_;
  std::map<std::string, std::shared_ptr<SafetensorsFile>> files_, owner_;  // by file name, by tensor name
};

// A tensor of `path` that was read as it stands in a model: throws CheckpointError naming it when it holds a NaN or infinity.
void require_finite_tensor(const at::Tensor& tensor, const std::string& name, const std::filesystem::path& path);

}  // namespace mla
