// rope_parameters, rope_theta and rope_scaling of config.json; the meaning of each is transformers' modeling_rope_utils.py.
#include <cmath>
#include <map>

#include "core/base/error.h"
#include "core/base/names.h"
#include "core/checkpoint/families.h"

namespace mla {
namespace {

// 0.1 m ln(s) + 1, and 1 where nothing is extended (YaRN, arXiv 2309.00071, equation 22).
double yarn_mscale(double factor, double m) { return factor <= 1 ? 1.0 : 0.1 * m * std::log(factor) + 1.0; }

RopeKind kind_of(const std::string& name, const std::string& where, bool phi3) {
  static const std::map<std::string, RopeKind> kinds{{"default", RopeKind::plain}, {"linear", RopeKind::linear}, {"dynamic", RopeKind::dynamic},
                                                     {"llama3", RopeKind::llama3}, {"yarn", RopeKind::yarn},     {"longrope", RopeKind::longrope}};
  if (phi3 && (name == "su" || name == "yarn")) return RopeKind::longrope;  // what Phi-3's first releases called it
  const auto found = kinds.find(name);
  if (found != kinds.end()) return found->second;
  std::vector<std::string> known;
  for (const auto& [each, kind] : kinds) known.push_back(each);
  fail<CheckpointError>("config", where, ": rope_type '", name, "' is not supported", known_names_hint(name, known));
}

void require(bool holds, const std::string& where, const char* wanted, double got) {
  if (!holds) fail<CheckpointError>("config", where, ": wanted ", wanted, ", got ", got);
}

void read_yarn(ConfigFields& rope, const ModelConfig& c, RopeScaling& s) {
  const double ratio = static_cast<double>(c.max_position) / static_cast<double>(s.original_length);  // DeepSeek's files may leave it null
  s.factor = rope.is_null("factor") ? ratio : rope.number("factor");
  rope.ignore("factor");
  const std::optional<double> given = rope.optional_number("attention_factor"), mscale = rope.optional_number("mscale"),
                              all = rope.optional_number("mscale_all_dim");
  const bool both = mscale.value_or(0) != 0 && all.value_or(0) != 0;
  s.attention_factor = given ? *given : both ? yarn_mscale(s.factor, *mscale) / yarn_mscale(s.factor, *all) : yarn_mscale(s.factor, 1);
  if (const auto fast = rope.optional_number("beta_fast"); fast.value_or(0) != 0) s.beta_fast = *fast;
  if (const auto slow = rope.optional_number("beta_slow"); slow.value_or(0) != 0) s.beta_slow = *slow;
  s.truncate = rope.flag("truncate", true);
  require(s.beta_fast > 0 && s.beta_slow > 0, rope.where(), "beta_fast and beta_slow above 0", std::min(s.beta_fast, s.beta_slow));
}

void read_longrope(ConfigFields& rope, const ModelConfig& c, RopeScaling& s) {
  const auto pairs = static_cast<std::size_t>(c.rotated() / 2);
  s.short_factor = rope.numbers("short_factor");
  s.long_factor = rope.numbers("long_factor");
  for (const auto* list : {&s.short_factor, &s.long_factor}) {
    if (list->size() != pairs)
      fail<CheckpointError>("config", rope.where(), ": wanted short_factor and long_factor of ", pairs, " numbers each, got ", list->size());
    for (const double value : *list) require(value > 0 && value < 1e9, rope.where(), "factors in (0, 1e9)", value);
  }
  const double ratio = static_cast<double>(c.max_position) / static_cast<double>(s.original_length);
  s.factor = rope.optional_number("factor").value_or(ratio);
  const double fallback = s.factor <= 1 ? 1.0 : std::sqrt(1 + std::log(s.factor) / std::log(static_cast<double>(s.original_length)));
  s.attention_factor = rope.optional_number("attention_factor").value_or(fallback);
}

void read_scaling(ConfigFields& rope, ModelConfig& c) {
  RopeScaling& s = c.rope;
  if (s.kind == RopeKind::linear || s.kind == RopeKind::dynamic || s.kind == RopeKind::llama3) s.factor = rope.number("factor");
  if (s.kind == RopeKind::dynamic) s.original_length = c.max_position;
  if (s.kind == RopeKind::llama3) {
    s.low_freq_factor = rope.number("low_freq_factor");
    s.high_freq_factor = rope.number("high_freq_factor");
    require(s.low_freq_factor > 0 && s.high_freq_factor > s.low_freq_factor, rope.where(), "0 < low_freq_factor < high_freq_factor", s.low_freq_factor);
  }
  if (s.kind == RopeKind::yarn) read_yarn(rope, c, s);
  if (s.kind == RopeKind::longrope) read_longrope(rope, c, s);
  require(s.factor > 0 && s.factor < 1e6, rope.where(), "factor in (0, 1e6)", s.factor);
  require(s.attention_factor > 0 && s.attention_factor < 1e6, rope.where(), "attention_factor in (0, 1e6)", s.attention_factor);
}

}  // namespace

void read_rope(ConfigFields& fields, const Family& family, ModelConfig& c) {
  static const Json none = Json::object();
  const bool phi3 = c.fused;
  const Json *older = fields.object("rope_scaling"), *newer = fields.object("rope_parameters");
  const bool old_spelling = older != nullptr && !older->empty();
  const Json& object = old_spelling ? *older : newer != nullptr ? *newer : none;
  ConfigFields rope(object, fields.where() + ": " + (old_spelling || newer == nullptr ? "rope_scaling" : "rope_parameters"));
  const double outer_theta = fields.optional_number("rope_theta").value_or(family.rope_theta);
  c.rope_theta = rope.optional_number("rope_theta").value_or(outer_theta);
  const double outer_share = fields.optional_number("partial_rotary_factor").value_or(1.0);
  const double share = rope.optional_number("partial_rotary_factor").value_or(outer_share);
  if (!(share > 0 && share <= 1) || (share != 1 && !phi3))
    fail<CheckpointError>("config", fields.where(), ": wanted partial_rotary_factor ", phi3 ? "in (0, 1]" : "of 1 for this family", ", got ", share);
  if (share < 1) {
    c.rotary_dim = static_cast<int64_t>(static_cast<double>(c.head_dim) * share);
    if (c.rotary_dim < 2 || c.rotary_dim % 2 != 0)
      fail<CheckpointError>("config", fields.where(), ": wanted an even number of rotated dims, got ", c.rotary_dim, " of head_dim ", c.head_dim);
  }
  c.rope.kind = kind_of(rope.text("rope_type", rope.text("type", "default")), rope.where(), phi3);
  rope.ignore("type");
  const std::optional<int64_t> outer_length = fields.optional_integer("original_max_position_embeddings"),
                               inner_length = rope.optional_integer("original_max_position_embeddings");
  if (c.rope.kind == RopeKind::llama3 || c.rope.kind == RopeKind::yarn || c.rope.kind == RopeKind::longrope) {
    c.rope.original_length = outer_length ? *outer_length : phi3 ? 4096 : inner_length.value_or(c.max_position);
    if (c.rope.original_length < 2 || c.rope.original_length > (1 << 30))
      fail<CheckpointError>("config", rope.where(), ": wanted original_max_position_embeddings in [2, 2^30], got ", c.rope.original_length);
  }
  read_scaling(rope, c);
  if (c.latent && c.rope.kind != RopeKind::plain)
    if (const double all = rope.optional_number("mscale_all_dim").value_or(0); all != 0) {
      const double m = yarn_mscale(c.rope.factor, all);
      c.score_scale *= m * m;
    }
  static constexpr const char* kNeutral[] = {"finetuned", "rope_theta", "mscale", "mscale_all_dim"};
  if (c.rope.kind != RopeKind::plain) rope.reject_unknown(kNeutral);
}

}  // namespace mla
