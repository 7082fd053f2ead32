#include "core/checkpoint/checkpoint.h"

#include <ATen/Parallel.h>

#include <map>

#include "core/base/error.h"
#include "core/checkpoint/dequantize.h"
#include "core/checkpoint/safetensors_folder.h"

namespace mla {
namespace {

// model.layers.3.self_attn.q_proj.weight -> blk.3.attn_q.weight; empty when GGUF has no such tensor.
std::string gguf_name(const std::string& name) {
  static const std::map<std::string, std::string> whole{{"model.embed_tokens.weight", "token_embd.weight"},
                                                        {"model.norm.weight", "output_norm.weight"},
                                                        {"lm_head.weight", "output.weight"}};
  static const std::map<std::string, std::string> parts{
      {"self_attn.q_proj.weight", "attn_q.weight"}, {"self_attn.k_proj.weight", "attn_k.weight"},
      {"self_attn.v_proj.weight", "attn_v.weight"}, {"self_attn.o_proj.weight", "attn_output.weight"},
      {"mlp.gate_proj.weight", "ffn_gate.weight"},  {"mlp.up_proj.weight", "ffn_up.weight"},
      {"mlp.down_proj.weight", "ffn_down.weight"},  {"input_layernorm.weight", "attn_norm.weight"},
      {"post_attention_layernorm.weight", "ffn_norm.weight"}};
  if (const auto found = whole.find(name); found != whole.end()) return found->second;
  constexpr std::string_view prefix = "model.layers.";
  if (name.rfind(prefix, 0) != 0) return {};
  const std::size_t dot = name.find('.', prefix.size());
  if (dot == std::string::npos) return {};
  const auto part = parts.find(name.substr(dot + 1));
  return part == parts.end() ? std::string() : "blk." + name.substr(prefix.size(), dot - prefix.size()) + '.' + part->second;
}

class GgufCheckpoint : public Checkpoint {
 public:
  explicit GgufCheckpoint(const std::filesystem::path& path) : file_(path), config_(config_from_gguf(file_)) {}
  const ModelConfig& config() const override { return config_; }
  bool has(const std::string& name) const override { return file_.find(gguf_name(name)) != nullptr; }
  const std::filesystem::path& path() const override { return file_.file().path(); }

  at::Tensor load(const std::string& name, at::ScalarType dtype) const override {
    const GgufTensor* tensor = file_.find(gguf_name(name));
    if (tensor == nullptr) fail<CheckpointError>("checkpoint", path().string(), ": tensor ", name, " (", gguf_name(name), ") is missing");
    at::Tensor values = at::empty(tensor->shape, at::kFloat);
    float* out = values.data_ptr<float>();
    const GgufBlock block = block_of(tensor->type);
    at::parallel_for(0, tensor->elements() / block.elements, 4096, [&](int64_t begin, int64_t end) {
      dequantize(tensor->type, tensor->bytes.subspan(static_cast<std::size_t>(begin * block.bytes), static_cast<std::size_t>((end - begin) * block.bytes)),
                 (end - begin) * block.elements, out + begin * block.elements);
    });
    file_.file().release(tensor->offset, tensor->bytes.size());
    if (name.find(".q_proj.") != std::string::npos) values = unpermute(values, config_.num_heads, name);
    if (name.find(".k_proj.") != std::string::npos) values = unpermute(values, config_.num_kv_heads, name);
    values = values.to(dtype);
    require_finite_tensor(values, name, path());
    return values;
  }

 private:
  // llama.cpp stores a head's rows interleaved: row 2i is rotary row i, row 2i+1 is rotary row i + h/2.
  at::Tensor unpermute(const at::Tensor& weight, int64_t heads, const std::string& name) const {
    if (weight.dim() != 2 || weight.size(0) != heads * config_.head_dim)
      fail<CheckpointError>("checkpoint", path().string(), ": wanted tensor ", name, " with ", heads * config_.head_dim, " rows, got shape ", weight.sizes());
    const int64_t half = weight.size(0) / heads / 2;
    return weight.view({heads, half, 2, weight.size(1)}).transpose(1, 2).reshape(weight.sizes()).contiguous();
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
