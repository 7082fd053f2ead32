// GGUF files of every family that llama.cpp has: written here as its converter writes them, read back to the same model.
#include <cmath>

#include "tests/support/catch.h"

#include "core/checkpoint/gguf_names.h"
#include "core/model/rope_plan.h"
#include "tests/checkpoint/sample_files.h"
#include "tests/support/family_models.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;
using Catch::Contains;

namespace {

using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

// Names and keys of the gguf package: tests/oracle/gguf_names.py.
const Json& goldens() {
  static const Json read = read_json_file(golden("gguf_names.json"));
  return read;
}

// A golden of families, as what GGUF can say of it.
struct Source {
  const char* golden;
  const char* family;
  Json changes = Json::object();  // of config.json: what a GGUF file has no key for
  bool equal_bits = true;         // false: frequencies pass through fp32 factors
};
const std::vector<Source> kSources{{"llama", "llama"},
                                   {"llama_biases", "llama", Json::object(), false},
                                   {"llama_linear", "llama"},
                                   {"llama_yarn", "llama"},
                                   {"mixtral", "mixtral"},
                                   {"mimo", "qwen2", {{"model_type", "qwen2"}, {"num_nextn_predict_layers", nullptr}}},
                                   {"qwen3", "qwen3"},
                                   {"gemma", "gemma"},
                                   {"gemma2", "gemma2", {{"query_pre_attn_scalar", 8}}},
                                   {"phi3", "phi3", Json::object(), false}};

Json config_of(const Source& source) {
  Json config = family_golden(source.golden)["config"];
  config.update(source.changes);
  return config;
}
Tensors tensors_of(const Source& source) {
  Tensors tensors = family_tensors(source.golden);
  std::erase_if(tensors, [](const auto& each) { return each.first.find("mtp_layers") != std::string::npos; });
  return tensors;
}

GgufEntry entry(const std::string& name, const at::Tensor& values) {
  const at::Tensor plain = values.to(at::kFloat).contiguous();
  const std::vector<int64_t> shape = plain.sizes().vec();
  return {name, {shape.rbegin(), shape.rend()}, gguf::F32, {static_cast<const char*>(plain.const_data_ptr()), plain.nbytes()}};
}

// model.layers.1.self_attn.q_proj.weight -> blk.1.attn_q.weight, by the package's table of layer 3.
std::string package_name(const std::string& name, const std::string& family) {
  const std::size_t last = name.rfind('.');
  std::string part = name.substr(0, last);
  const auto layer = [&](std::string text, const std::string& from, const std::string& to) { return text.replace(text.find(from), from.size(), to); };
  std::string number;
  if (part.rfind("model.layers.", 0) == 0) {
    number = part.substr(13, part.find('.', 13) - 13);
    part = layer(part, "layers." + number + '.', "layers.3.");
  }
  const std::string found = goldens()["tensors"][family].at(part);
  return (number.empty() ? found : layer(found, "blk.3.", "blk." + number + '.')) + name.substr(last);
}

// What llama.cpp's converter does to values: its architecture llama has neighbouring rotary rows, its Gemmas have norms with 1 added.
at::Tensor converted(const std::string& name, const at::Tensor& values, const ModelConfig& c) {
  const bool q = name.find(".q_proj.") != std::string::npos, k = name.find(".k_proj.") != std::string::npos;
  if ((c.architecture == "llama" || c.architecture == "mixtral") && (q || k))
    return values.view({q ? c.num_heads : c.num_kv_heads, 2, c.head_dim / 2, -1}).transpose(1, 2).reshape(values.sizes());
  return c.unit_norms && name.find("norm") != std::string::npos ? values + 1 : values;
}

void add_keys(GgufSample& file, const ModelConfig& c, const std::string& architecture) {
  const auto name = [&](const char* key) { return architecture + '.' + goldens()["keys"].at(key).get<std::string>(); };
  const auto integer = [&](const char* key, int64_t value) { file.keys.push_back(gguf_key(name(key), gguf::u32, raw(static_cast<uint32_t>(value)))); };
  const auto number = [&](const char* key, double value) { file.keys.push_back(gguf_key(name(key), gguf::f64, raw(value))); };
  file.keys.push_back(gguf_key("general.architecture", gguf::text, gguf_text(architecture)));
  integer("context_length", c.max_position), integer("embedding_length", c.hidden_size), integer("block_count", c.num_layers);
  integer("feed_forward_length", c.intermediate_size), integer("heads", c.num_heads), integer("kv_heads", c.num_kv_heads);
  integer("key_length", c.head_dim), integer("value_length", c.head_dim), integer("rope_dims", c.rotated());
  number("eps", c.rms_norm_eps), number("theta", c.rope_theta);
  if (c.experts > 0) integer("experts", c.experts), integer("experts_used", c.experts_per_token);
  if (!c.windows.empty()) integer("window", *std::max_element(c.windows.begin(), c.windows.end()));
  if (c.attention_softcap > 0) number("attention_softcap", c.attention_softcap), number("logit_softcap", c.logit_softcap);
  if (c.rope.kind == RopeKind::linear || c.rope.kind == RopeKind::yarn) {
    file.keys.push_back(gguf_key(name("rope_type"), gguf::text, gguf_text(c.rope.kind == RopeKind::linear ? "linear" : "yarn")));
    number("rope_factor", c.rope.factor);
  }
  if (c.rope.kind == RopeKind::yarn || c.rope.kind == RopeKind::longrope) integer("rope_length", c.rope.original_length);
  if (c.rope.kind == RopeKind::longrope) number("rope_attn_factor", c.rope.attention_factor);
}

// Llama 3.1's scaling and longrope are tensors there.
void add_rope_tensors(GgufSample& file, const ModelConfig& c) {
  const auto add = [&](const char* kind, const at::Tensor& factors) {
    file.tensors.push_back(entry(goldens()["rope_tensors"].at(kind).get<std::string>() + ".weight", factors));
  };
  if (c.rope.kind == RopeKind::llama3) add("always", standard_inv_freq(c.rope_theta, c.head_dim) / rope_plan(c, c.head_dim).inv_freq[0]);
  if (c.rope.kind == RopeKind::longrope) add("short", at::tensor(c.rope.short_factor)), add("long", at::tensor(c.rope.long_factor));
}

GgufSample written(const Source& source, const ModelConfig& c, bool joined_experts) {
  GgufSample file;
  add_keys(file, c, goldens()["architectures"].at(source.family));
  std::map<std::string, std::vector<at::Tensor>> experts;  // by the name of all of them
  for (const auto& [name, values] : tensors_of(source)) {
    const std::size_t at = name.find(".experts.");
    if (at == std::string::npos) {
      file.tensors.push_back(entry(package_name(name, source.family), converted(name, values, c)));
      continue;
    }
    const std::string layer = name.substr(13, name.find('.', 13) - 13), number = name.substr(at + 9, 1), kind = name.substr(at + 11, 2);
    std::string all = goldens()["tensors"][source.family].at("experts." + kind).get<std::string>().substr(6);  // behind "blk.3."
    all = "blk." + layer + '.' + all;
    if (joined_experts) experts[all + ".weight"].push_back(values);
    else file.tensors.push_back(entry(all.substr(0, all.find("_exps")) + '.' + number + ".weight", values));
  }
  for (const auto& [name, values] : experts) file.tensors.push_back(entry(name, at::stack(values)));
  add_rope_tensors(file, c);
  return file;
}

Decoder loaded(const fs::path& path) { return load_decoder(*Checkpoint::open(path), at::kCPU, at::kFloat); }

}  // namespace

TEST_CASE("a GGUF file of every family that llama.cpp has gives the same model as its Hugging Face folder", "[checkpoint][gguf][families]") {
  const TemporaryFolder folder;
  const Source source = GENERATE(from_range(kSources));
  const bool joined = GENERATE(true, false);
  if (!joined && std::string(source.family) != "mixtral") return;
  INFO(source.golden << (joined ? "" : ", a tensor for each expert"));
  fs::create_directories(folder / "hf");
  write_bytes(folder / "hf/config.json", config_of(source).dump());
  write_safetensors(tensors_of(source), folder / "hf/model.safetensors");
  const Decoder wanted = loaded(folder / "hf");

  write_bytes(folder / "model.gguf", written(source, wanted.config, joined).bytes());
  const Decoder read = loaded(folder / "model.gguf");

  const at::Tensor ids = tiny_ids(1, 58, wanted.config.vocab_size);
  const at::Tensor ours = read.logits(read.last_hidden(ids)), theirs = wanted.logits(wanted.last_hidden(ids));
  CHECK(max_relative_error(ours, theirs) < (source.equal_bits ? 1e-6 : kFp32Reordering));
  CHECK(read.parameters() == wanted.parameters());
  CHECK(read.config.architecture == source.family);
}

TEST_CASE("a GGUF key that may change the computation, or an unknown architecture, is refused by name", "[checkpoint][gguf][families][errors]") {
  const TemporaryFolder folder;
  const Source source = kSources.front();
  const auto refused_after = [&](const auto& change) {
    GgufSample file = written(source, family_model("llama").config, true);
    change(file);
    write_bytes(folder / "model.gguf", file.bytes());
    return refusal([&] { loaded(folder / "model.gguf"); });
  };
  CHECK(refused_after([](GgufSample&) {}).empty());
  CHECK_THAT(refused_after([](GgufSample& f) { f.keys[0] = gguf_key("general.architecture", gguf::text, gguf_text("mamba")); }), Contains("architecture 'mamba'"));
  CHECK_THAT(refused_after([](GgufSample& f) { f.keys.push_back(gguf_key("llama.attention.clamp_kqv", gguf::f32, raw(8.0f))); }), Contains("llama.attention.clamp_kqv"));
  CHECK_THAT(refused_after([](GgufSample& f) { f.keys.push_back(gguf_key("llama.rope.scaling.type", gguf::text, gguf_text("ntk"))); }), Contains("ntk"));
  CHECK_THAT(refused_after([](GgufSample& f) { f.tensors.pop_back(); }), Contains("Missing: model.norm.weight") || Contains("Missing: model.layers"));
  CHECK_THAT(refused_after([](GgufSample& f) { f.tensors.push_back(entry("blk.0.attn_sinks.weight", at::ones({6}))); }), Contains("Not asked for: blk.0.attn_sinks.weight"));
  CHECK_THAT(refused_after([](GgufSample& f) { f.tensors.push_back(entry("rope_freqs.weight", at::zeros({4}))); }), Contains("factors in (0, 1e9)"));
  CHECK_THAT(refused_after([](GgufSample& f) { f.tensors.push_back(entry("rope_freqs.weight", at::ones({3}))); }), Contains("wanted 4 factors"));
}
