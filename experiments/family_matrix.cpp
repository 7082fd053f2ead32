#include "experiments/family_matrix.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "core/base/error.h"
#include "core/base/names.h"
#include "core/checkpoint/expected_tensors.h"
#include "core/checkpoint/families.h"
#include "core/model/deepseek_form.h"
#include "experiments/model_plan.h"

namespace mla {
namespace {

struct Variant {
  const char* family;
  const char* suffix;  // behind the family's name
  Json changes;        // of the drawn model's config.json
};
const std::vector<Variant>& variants() {
  static const std::vector<double> near(32, 1.0), far(32, 2.0);
  static const std::vector<Variant> all{
      {"llama", "", Json::object()},
      {"llama", ", attention biases", {{"attention_bias", true}}},
      {"mistral", "", {{"sliding_window", 8}}},
      {"mistral", ", no window", {{"sliding_window", nullptr}}},
      {"mixtral", "", {{"num_local_experts", 3}}},
      {"qwen2", "", Json::object()},
      {"qwen3", "", Json::object()},
      {"gemma", "", Json::object()},
      {"gemma2", "", {{"sliding_window", 8}}},
      {"phi3", "", Json::object()},
      {"phi3", ", longrope", {{"original_max_position_embeddings", 64}, {"rope_scaling", {{"type", "longrope"}, {"short_factor", near}, {"long_factor", far}}}}},
      {"mimo", "", Json::object()},
      {"deepseek_v2", "", Json::object()},
      {"deepseek_v3", "", Json::object()}};
  return all;
}

// Two layers, four query heads on two KV heads of 64, the width that recipes have defaults for.
ModelConfig drawn_config(const Variant& variant) {
  Json config{{"model_type", variant.family}, {"vocab_size", 32}, {"hidden_size", 128}, {"intermediate_size", 48}, {"num_hidden_layers", 2},
              {"num_attention_heads", 4}, {"num_key_value_heads", 2}, {"head_dim", 64}, {"max_position_embeddings", 128}};
  if (std::string(variant.family).rfind("deepseek", 0) == 0)
    config.update({{"num_key_value_heads", 4}, {"first_k_dense_replace", 2}, {"kv_lora_rank", 16}, {"q_lora_rank", nullptr}, {"qk_rope_head_dim", 8},
                   {"qk_nope_head_dim", 8}, {"v_head_dim", 8}});
  config.update(variant.changes);
  return config_from_hf(config, variant.family + std::string(variant.suffix));
}

// A model of a configuration with seeded normal weights, as if it lay on disk.
class DrawnCheckpoint : public Checkpoint {
 public:
  explicit DrawnCheckpoint(ModelConfig config) : config_(std::move(config)), tensors_(expected_tensors(config_)) {}
  const ModelConfig& config() const override { return config_; }
  bool has(const std::string& name) const override { return find(name) != nullptr; }
  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const ExpectedTensor& each : tensors_) names.push_back(each.name);
    return names;
  }
  std::vector<int64_t> shape(const std::string& name) const override { return wanted(name).shape; }
  at::Tensor load(const std::string& name, at::ScalarType dtype) const override {
    const ExpectedTensor& tensor = wanted(name);
    at::Generator generator = at::detail::createCPUGenerator(std::hash<std::string>()(name));
    return (at::randn(tensor.shape, generator, at::kFloat) / std::sqrt(static_cast<double>(tensor.shape.back()))).to(dtype);
  }
  const std::filesystem::path& path() const override { return path_; }

 private:
  const ExpectedTensor* find(const std::string& name) const {
    const auto found = std::find_if(tensors_.begin(), tensors_.end(), [&](const ExpectedTensor& each) { return each.name == name; });
    return found == tensors_.end() ? nullptr : &*found;
  }
  const ExpectedTensor& wanted(const std::string& name) const {
    if (const ExpectedTensor* found = find(name)) return *found;
    fail<CheckpointError>("checkpoint", "a drawn model has no tensor ", name);
  }
  ModelConfig config_;
  std::vector<ExpectedTensor> tensors_;
  std::filesystem::path path_ = "drawn";
};

Decoder converted_layer(const RecipeEntry& entry, const DrawnCheckpoint& checkpoint) {
  const ModelConfig& config = checkpoint.config();
  if (config.latent) fail<ConfigError>("convert", "wanted keys and values of its own, got latent attention already");
  const int64_t kept = config.num_kv_heads * config.head_dim * 3 / 2;  // three quarters of keys and values
  return first_layer_converted(checkpoint, entry.make({{"cache_values", kept}}, config), at::kFloat);
}

// What holds the family where a method asks for no more than a latent and one rope key: docs/export.md. Where a target wants a latent norm,
// it gets one.
std::set<std::string> targets_of(const DrawnCheckpoint& checkpoint) {
  std::set<std::string> targets{"mlaforge"};
  if (checkpoint.config().latent) return targets;
  const Decoder converted = converted_layer(find_recipe("transmla"), checkpoint);
  Decoder normed = converted;
  auto& latent = std::get<MlaWeights>(normed.layers[0].attention);
  latent.kv_a_norm = at::ones({latent.rank()});
  for (const std::string target : {"transformers", "vllm", "llama.cpp"}) {
    try {
      to_deepseek_form(target == "transformers" ? converted : normed, deepseek_shape(target, 1));
      targets.insert(target);
    } catch (const ConfigError&) {
    }
  }
  return targets;
}

FamilyRow::Cell cell_of(const RecipeEntry& entry, const DrawnCheckpoint& checkpoint, const std::set<std::string>& held) {
  try {
    converted_layer(entry, checkpoint);
    FamilyRow::Cell cell{entry.name, {}, ""};
    for (const char* target : entry.exports)
      if (held.count(target) > 0) cell.targets.emplace_back(target);
    return cell;
  } catch (const ConfigError& error) {
    return {entry.name, {}, error.what()};
  }
}

std::string letters(const std::vector<std::string>& targets) {
  std::string text;
  for (const auto& [target, letter] : {std::pair{"mlaforge", 'm'}, {"transformers", 't'}, {"vllm", 'v'}, {"llama.cpp", 'l'}})
    if (std::find(targets.begin(), targets.end(), target) != targets.end()) text += letter;
  return text;
}

}  // namespace

std::vector<FamilyRow> family_matrix() {
  std::vector<FamilyRow> rows;
  for (const Variant& variant : variants()) {
    const Family& family = find_family(variant.family, "families");
    const DrawnCheckpoint checkpoint(drawn_config(variant));
    FamilyRow row{variant.family + std::string(variant.suffix), family.summary, family.gguf, {}};
    const std::set<std::string> held = targets_of(checkpoint);
    for (const RecipeEntry* entry : recipes()) row.cells.push_back(cell_of(*entry, checkpoint, held));
    rows.push_back(std::move(row));
  }
  return rows;
}

Json family_matrix_json(const std::vector<FamilyRow>& rows) {
  Json all = Json::array();
  for (const FamilyRow& row : rows) {
    Json cells = Json::array();
    for (const FamilyRow::Cell& cell : row.cells)
      cells.push_back({{"method", cell.method}, {"export_targets", cell.targets}, {"reason", cell.reason.empty() ? Json() : Json(cell.reason)}});
    all.push_back({{"family", row.name}, {"summary", row.summary}, {"gguf", row.gguf}, {"methods", cells}});
  }
  return all;
}

std::string family_matrix_markdown(const std::vector<FamilyRow>& rows) {
  std::ostringstream out;
  out << "| family | models and what is special | GGUF |\n|---|---|---|\n";
  for (const FamilyRow& row : rows)
    if (row.name.find(',') == std::string::npos) out << "| `" << row.name << "` | " << row.summary << " | " << (row.gguf.empty() ? "" : '`' + row.gguf + '`') << " |\n";
  out << "\n| |";
  for (const FamilyRow::Cell& cell : rows.front().cells) out << ' ' << cell.method << " |";
  out << "\n|---|";
  for (std::size_t i = 0; i < rows.front().cells.size(); ++i) out << "---|";
  out << '\n';
  std::vector<std::string> reasons;
  for (const FamilyRow& row : rows) {
    out << "| " << row.name << " |";
    for (const FamilyRow::Cell& cell : row.cells) {
      if (cell.reason.empty()) {
        out << ' ' << letters(cell.targets) << " |";
        continue;
      }
      auto known = std::find(reasons.begin(), reasons.end(), cell.reason);
      if (known == reasons.end()) known = reasons.insert(known, cell.reason);
      out << " no (" << known - reasons.begin() + 1 << ") |";
    }
    out << '\n';
  }
  for (std::size_t i = 0; i < reasons.size(); ++i) out << '\n' << i + 1 << ". `" << reasons[i] << '`';
  if (!reasons.empty()) out << '\n';
  return out.str();
}

}  // namespace mla
