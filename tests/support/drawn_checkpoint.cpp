#include "tests/support/drawn_checkpoint.h"

#include <cmath>
#include <random>

#include "core/base/json.h"
#include "core/checkpoint/safetensors_file.h"
#include "tests/support/bytes.h"

namespace mla::test {
namespace {

constexpr int kWidth = 40, kInner = 48, kHeads = 4, kGroups = 2, kHead = 8, kVocabulary = 27, kLayers = 2;

class Weights {
 public:
  void add(const std::string& name, const std::vector<int64_t>& shape) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    const bool norm = shape.size() == 1;
    const double scale = norm ? 0.2 : 2 / std::sqrt(static_cast<double>(shape.back()));
    for (int64_t i = 0; i < count; ++i) body_ += raw(static_cast<float>((norm ? 1 : 0) + scale * (static_cast<double>(random_()) / 2147483648.0 - 1)));
    entries_.push_back({name, SafeType::f32, shape, static_cast<std::size_t>(4 * count)});
  }
  std::string bytes() const { return safetensors_header(entries_) + body_; }

 private:
  std::mt19937 random_{5};
  std::vector<SafeEntry> entries_;
  std::string body_;
};

std::string weights() {
  Weights all;
  all.add("model.embed_tokens.weight", {kVocabulary, kWidth});
  all.add("model.norm.weight", {kWidth});
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + '.';
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"}) all.add(prefix + norm + ".weight", {kWidth});
    all.add(prefix + "self_attn.q_proj.weight", {kHeads * kHead, kWidth});
    all.add(prefix + "self_attn.k_proj.weight", {kGroups * kHead, kWidth});
    all.add(prefix + "self_attn.v_proj.weight", {kGroups * kHead, kWidth});
    all.add(prefix + "self_attn.o_proj.weight", {kWidth, kHeads * kHead});
    all.add(prefix + "mlp.gate_proj.weight", {kInner, kWidth});
    all.add(prefix + "mlp.up_proj.weight", {kInner, kWidth});
    all.add(prefix + "mlp.down_proj.weight", {kWidth, kInner});
  }
  return all.bytes();
}

Json tokenizer() {
  Json vocabulary = Json::object();
  for (int i = 0; i < 26; ++i) vocabulary[std::string(1, static_cast<char>('a' + i))] = i;
  vocabulary["\u010A"] = 26;  // a newline
  return {{"added_tokens", Json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
          {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", Json::array()}}}};
}

Json ids() {
  std::mt19937 random(7);
  Json rows = Json::array(), masks = Json::array();
  for (int row = 0; row < 4; ++row) {
    Json tokens = Json::array();
    for (int token = 0; token < 24; ++token) tokens.push_back(random() % kVocabulary);
    rows.push_back(tokens);
    masks.push_back(std::vector<int>(24, 1));
  }
  return {{"batches", {{{"input_ids", rows}, {"attention_mask", masks}}}}};
}

}  // namespace

void write_drawn_checkpoint(const fs::path& folder) {
  fs::create_directories(folder / "model");
  const Json config{{"architectures", {"LlamaForCausalLM"}}, {"model_type", "llama"}, {"vocab_size", kVocabulary}, {"hidden_size", kWidth}, {"intermediate_size", kInner},
                    {"num_hidden_layers", kLayers}, {"num_attention_heads", kHeads}, {"num_key_value_heads", kGroups}, {"head_dim", kHead}, {"hidden_act", "silu"},
                    {"max_position_embeddings", 128}, {"rms_norm_eps", 1e-5}, {"rope_theta", 10000.0}, {"tie_word_embeddings", true}};
  write_bytes(folder / "model/config.json", config.dump());
  write_bytes(folder / "model/tokenizer.json", tokenizer().dump());
  write_bytes(folder / "model/model.safetensors", weights());
  write_bytes(folder / "ids.json", ids().dump());
}

}  // namespace mla::test
