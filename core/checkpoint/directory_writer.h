// Writes a model folder of safetensors: one file, or shards with an index. It appears whole or not at all (fresh_folder.h).
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/checkpoint/fresh_folder.h"

namespace mla {

inline constexpr std::size_t kShardBytes = 5'000'000'000;  // of tensors in one file, as Hugging Face has long cut them

class DirectoryWriter {
 public:
  // `config` becomes config.json. Throws as FreshFolder does.
  DirectoryWriter(std::filesystem::path out, Json config, std::size_t shard_bytes = kShardBytes);

  void add(const std::string& name, const at::Tensor& tensor);  // kept by reference until finish()
  void add_file(const std::string& name, const std::string& content) { folder_.add_file(name, content); }
  void add_files(const FolderFiles& files);
  // Writes the weights, config.json and, last, mla_conversion.json with the hashes of the weights. A tensor larger than a shard has one
  // to itself. Throws ShapeError for a type that our files do not hold, ResourceError, and what the check throws.
  void finish(Json conversion, const CheckWritten& check = {});

 private:
  FreshFolder folder_;
  Json config_;
  std::size_t shard_bytes_;
  std::vector<std::pair<std::string, at::Tensor>> tensors_;
};

}  // namespace mla
