// A model folder with a deliberate error.
#pragma once
#include <functional>
#include <map>
#include <string>

#include "core/base/json.h"
#include "core/checkpoint/directory_writer.h"
#include "core/checkpoint/safetensors_folder.h"
#include "tests/support/paths.h"

namespace mla::test {

using Tensors = std::map<std::string, at::Tensor>;
using Spoil = std::function<void(Json& config, Tensors& tensors)>;

// Writes the fp32 folder `from` to `to` after `spoil` had its way with config.json and tensors.
inline void spoil_folder(const fs::path& from, const fs::path& to, const Spoil& spoil) {
  Json config = read_json_file(from / "config.json");
  const SafetensorsFolder read(from);
  Tensors tensors;
  for (const std::string& name : read.names()) tensors[name] = read.load(name, at::kFloat);
  spoil(config, tensors);
  DirectoryWriter writer(to, config);
  for (const auto& [name, tensor] : tensors) writer.add(name, tensor);
  writer.finish({});
}

// Calls change(tensor) on every tensor whose name holds `part`.
template <class Change>
void each_named(Tensors& tensors, const std::string& part, const Change& change) {
  for (auto& [name, tensor] : tensors)
    if (name.find(part) != std::string::npos) change(tensor);
}

}  // namespace mla::test
