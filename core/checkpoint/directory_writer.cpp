#include "core/checkpoint/directory_writer.h"

#include <cstdio>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/process.h"
#include "core/checkpoint/hashed_file.h"
#include "core/checkpoint/safetensors_file.h"

namespace mla {
namespace {

SafeType safe_type(const LaterTensor& tensor, const std::string& name) {
  switch (tensor.type()) {
    case at::kFloat: return SafeType::f32;
    case at::kHalf: return SafeType::f16;
    case at::kBFloat16: return SafeType::bf16;
    case at::kDouble: return SafeType::f64;
    case at::kLong: return SafeType::i64;
    default: fail<ShapeError>("directory_writer", "tensor ", name, " has a type that safetensors files of ours do not hold");
  }
}

// Where each shard begins, and the end.
std::vector<std::size_t> shard_bounds(const LaterTensors& tensors, std::size_t most) {
  std::vector<std::size_t> bounds{0};
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::size_t more = tensors[i].second.bytes();
    if (bytes > 0 && bytes + more > most) {
      bounds.push_back(i);
      bytes = 0;
    }
    bytes += more;
  }
  bounds.push_back(tensors.size());
  return bounds;
}

// Returns the hash of what was written.
std::string write_shard(const std::filesystem::path& path, const LaterTensors& tensors, std::size_t begin, std::size_t end) {
  std::vector<SafeEntry> entries;
  for (std::size_t i = begin; i < end; ++i) {
    const auto& [name, tensor] = tensors[i];
    entries.push_back({name, safe_type(tensor, name), tensor.shape(), tensor.bytes()});
  }
  HashedFile file(path);
  const std::string header = safetensors_header(entries);
  file.write(header.data(), header.size());
  for (std::size_t i = begin; i < end; ++i) {
    throw_if_interrupted();
    const at::Tensor plain = tensors[i].second.take(tensors[i].first);
    file.write(plain.const_data_ptr(), plain.nbytes());
  }
  return file.commit();
}

std::string shard_name(std::size_t shard, std::size_t shards) {
  if (shards == 1) return "model.safetensors";
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", shard + 1, shards);
  return name;
}

}  // namespace

DirectoryWriter::DirectoryWriter(std::filesystem::path out, Json config, std::size_t shard_bytes)
    : folder_(std::move(out)), config_(std::move(config)), shard_bytes_(shard_bytes) {}

void DirectoryWriter::add(const std::string& name, LaterTensor tensor) { tensors_.emplace_back(name, std::move(tensor)); }

void DirectoryWriter::add_files(const FolderFiles& files) {
  for (const auto& [name, content] : files) add_file(name, content);
}

void DirectoryWriter::finish(Json conversion, const CheckWritten& check) {
  const std::vector<std::size_t> bounds = shard_bounds(tensors_, shard_bytes_);
  const std::size_t shards = bounds.size() - 1;
  Json map = Json::object();
  std::size_t total = 0;
  for (std::size_t shard = 0; shard < shards; ++shard) {
    const std::string name = shard_name(shard, shards);
    conversion["sha256"][name] = write_shard(folder_.path() / name, tensors_, bounds[shard], bounds[shard + 1]);
    for (std::size_t i = bounds[shard]; i < bounds[shard + 1]; ++i) {
      map[tensors_[i].first] = name;
      total += tensors_[i].second.bytes();
    }
  }
  if (shards > 1) add_file("model.safetensors.index.json", Json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump(2) + '\n');
  add_file("config.json", config_.dump(2) + '\n');
  folder_.commit(std::move(conversion), check);
}

}  // namespace mla
