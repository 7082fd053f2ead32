// Writes a model folder: into a sibling temporary folder first, renamed when finished, so that none is ever half-written.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/checkpoint/model_config.h"

namespace mla {

class DirectoryWriter {
 public:
  // Throws ConfigError when `out` exists and is not an empty folder, ResourceError when it cannot be made.
  DirectoryWriter(std::filesystem::path out, ModelConfig config);
  ~DirectoryWriter();
  DirectoryWriter(const DirectoryWriter&) = delete;
  DirectoryWriter& operator=(const DirectoryWriter&) = delete;

  void add(const std::string& name, const at::Tensor& tensor);  // kept by reference until finish()
  void add_file(const std::string& name, const std::string& content);
  // Writes model.safetensors, config.json and, last, mla_conversion.json with the hash of the weights.
  void finish(Json conversion);

 private:
  std::filesystem::path out_, temporary_;
  ModelConfig config_;
  std::vector<std::pair<std::string, at::Tensor>> tensors_;
};

}  // namespace mla
