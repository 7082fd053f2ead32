#include "core/checkpoint/checkpoint.h"

#include <ATen/Parallel.h>

#include <map>
#include <set>

#include "core/base/error.h"
#include "core/checkpoint/dequantize.h"
#include "core/checkpoint/expected_tensors.h"
#include "core/checkpoint/gguf_names.h"
#include "core/checkpoint/safetensors_folder.h"

namespace mla {
namespace {

class GgufCheckpoint : public Checkpoint {
 public:
  explicit GgufCheckpoint(const std::filesystem::path& path) : file_(path), config_(config_from_gguf(file_)) {}
  const ModelConfig& config() const override { return config_; }
  const std::filesystem::path& path() const override { return file_.file().path(); }
  bool has(const std::string& name) const override {
    const auto place = gguf_place(name, config_, file_);
    return place && file_.find(place->name) != nullptr;
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    std::set<std::string> covered;
    for (const ExpectedTensor& each : expected_tensors(config_)) {
      if (!has(each.name)) continue;
      names.push_back(each.name);
      covered.insert(gguf_place(each.name, config_, file_)->name);
    }
    for (const GgufTensor& tensor : file_.tensors())
      if (covered.count(tensor.name) == 0) names.push_back(tensor.name);
    return names;
  }

  std::vector<int64_t> shape(const std::string& name) const override { return find(name).shape; }

  at::Tensor load(const std::string& name, at::ScalarType dtype) const override {
    const Found found = find(name);
    at::Tensor values = at::empty(found.shape, at::kFloat);
    float* out = values.data_ptr<float>();
    const GgufBlock block = block_of(found.type);
    at::parallel_for(0, values.numel() / block.elements, 4096, [&](int64_t begin, int64_t end) {
      dequantize(found.type, found.bytes.subspan(static_cast<std::size_t>(begin * block.bytes), static_cast<std::size_t>((end - begin) * block.bytes)),
                 (end - begin) * block.elements, out + begin * block.elements);
    });
    file_.file().release(found.offset, found.bytes.size());
    if (permutes()) {
      if (name.find(".q_proj.") != std::string::npos) values = unpermute(values, config_.num_heads, name);
      if (name.find(".k_proj.") != std::string::npos) values = unpermute(values, config_.num_kv_heads, name);
    }
    values = values.to(dtype);
    require_finite_tensor(values, name, path());
    return values;
  }

 private:
  struct Found {
    GgufType type;
    std::vector<int64_t> shape;
    std::size_t offset;
    std::span<const std::byte> bytes;
  };
  Found find(const std::string& name) const {
    const auto place = gguf_place(name, config_, file_);
    const GgufTensor* tensor = place ? file_.find(place->name) : nullptr;
    if (tensor == nullptr)
      fail<CheckpointError>("checkpoint", path().string(), ": tensor ", name, " (", place ? place->name : "which GGUF has no name for", ") is missing");
    if (place->parts == 1) return {tensor->type, tensor->shape, tensor->offset, tensor->bytes};
    if (tensor->shape.size() < 2 || tensor->shape[0] != place->parts)
      fail<CheckpointError>("checkpoint", path().string(), ": wanted tensor ", place->name, " of ", place->parts, " experts, got ", tensor->shape[0]);
    const std::size_t size = tensor->bytes.size() / static_cast<std::size_t>(place->parts), start = size * static_cast<std::size_t>(place->part);
    return {tensor->type, {tensor->shape.begin() + 1, tensor->shape.end()}, tensor->offset + start, tensor->bytes.subspan(start, size)};
  }

  // llama.cpp turns q and k of its architecture llama (Mixtral's too), and of no other here.
  bool permutes() const { return config_.architecture == "llama" || config_.architecture == "mixtral"; }
  // It stores a head's rows interleaved: row 2i is rotary row i, row 2i+1 is rotary row i + h/2.
  at::Tensor unpermute(const at::Tensor& rows, int64_t heads, const std::string& name) const {
    if (rows.dim() != (name.ends_with(".bias") ? 1 : 2) || rows.size(0) != heads * config_.head_dim)
      fail<CheckpointError>("checkpoint", path().string(), ": wanted tensor ", name, " with ", heads * config_.head_dim, " rows, got shape ", rows.sizes());
    return rows.reshape({heads, config_.head_dim / 2, 2, -1}).transpose(1, 2).reshape(rows.sizes()).contiguous();
  }
  GgufFile file_;
  ModelConfig config_;
};

class DirectoryCheckpoint : public Checkpoint {
 public:
  explicit DirectoryCheckpoint(const std::filesystem::path& path)
      : config_(config_from_hf(read_json_file(path / "config.json"), (path / "config.json").string())), tensors_(path) {
    if (config_.mla && !std::filesystem::exists(path / "mla_conversion.json"))
      fail<CheckpointError>("checkpoint", path.string(), " is incomplete: mla_conversion.json, which is written last, is missing; convert again");
  }
  const ModelConfig& config() const override { return config_; }
  bool has(const std::string& name) const override { return tensors_.has(name); }
  const std::filesystem::path& path() const override { return tensors_.path(); }
  std::vector<std::string> names() const override { return tensors_.names(); }
  std::vector<int64_t> shape(const std::string& name) const override { return tensors_.shape(name); }
  at::Tensor load(const std::string& name, at::ScalarType dtype) const override { return tensors_.load(name, dtype); }

 private:
  ModelConfig config_;
  SafetensorsFolder tensors_;
};

}  // namespace

std::shared_ptr<Checkpoint> Checkpoint::open(const std::filesystem::path& path) {
  std::error_code ignored;  // a path that cannot be looked at is no model either
  if (!std::filesystem::exists(path, ignored))
    fail<CheckpointError>("checkpoint", "no such file or folder: ", path.string(), "; wanted a GGUF file or a folder with config.json");
  if (std::filesystem::is_directory(path, ignored)) return std::make_shared<DirectoryCheckpoint>(path);
  return std::make_shared<GgufCheckpoint>(path);
}

}  // namespace mla
