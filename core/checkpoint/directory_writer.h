// Writes a model folder of safetensors: one file, or shards with an index. It appears whole or not at all (fresh_folder.h).
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <string>

#include "core/checkpoint/fresh_folder.h"
#include "core/checkpoint/later_tensor.h"

namespace mla {

inline constexpr std::size_t kShardBytes = 5'000'000'000;  // of tensors in one file, as Hugging Face has long cut them

class DirectoryWriter {
 public:
  // `config` becomes config.json. Throws as FreshFolder does.
  DirectoryWriter(std::filesystem::path out, Json config, std::size_t shard_bytes = kShardBytes);

  // A tensor that is there is kept by reference until finish(); one that is not is asked for once, in the order of these calls.
  void add(const std::string& name, LaterTensor tensor);
  void add_file(const std::string& name, const std::string& content) { folder_.add_file(name, content); }
  void add_files(const FolderFiles& files);
  // Writes the weights, config.json and, last, mla_conversion.json with the hashes of the weights. A tensor larger than a shard has one
  // to itself. Throws ShapeError for a type that our files do not hold, ResourceError, and what the check throws.
  void finish(Json conversion, const CheckWritten& check = {});

 private:
  FreshFolder folder_;
  Json config_;
  std::size_t shard_bytes_;
  LaterTensors tensors_;
};

}  // namespace mla
