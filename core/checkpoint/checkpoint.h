// A model on disk, whatever its format: configuration and tensors under Hugging Face's names, loaded one at a time.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/checkpoint/model_config.h"

namespace mla {

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;
  // A GGUF file, or a folder with config.json and safetensors. Throws CheckpointError.
  static std::shared_ptr<Checkpoint> open(const std::filesystem::path& path);

  virtual const ModelConfig& config() const = 0;
  virtual bool has(const std::string& name) const = 0;
  // Every tensor: under Hugging Face's name, or under the file's own where that format has no such name.
  virtual std::vector<std::string> names() const = 0;
  // As load() gives it. Throws CheckpointError when it is missing.
  virtual std::vector<int64_t> shape(const std::string& name) const = 0;
  // Fresh contiguous CPU tensor; GGUF's row permutation of q and k is undone, so rotary pair i is rows (i, i + h/2).
  // Throws CheckpointError when it is missing or, as `dtype`, holds a NaN or infinity.
  virtual at::Tensor load(const std::string& name, at::ScalarType dtype) const = 0;
  virtual const std::filesystem::path& path() const = 0;
};

}  // namespace mla
