#include "core/checkpoint/own_format.h"

#include "core/base/error.h"
#include "core/checkpoint/families.h"

namespace mla {
namespace {

const char* name_of(Activation activation) {
  switch (activation) {
    case Activation::silu: return "silu";
    case Activation::gelu_tanh: return "gelu_pytorch_tanh";
    case Activation::gelu: return "gelu";
  }
  fail<ShapeError>("config", "wanted a known activation");
}

}  // namespace

Json computation_to_json(const ModelConfig& c) {
  Json json = Json::object();
  if (c.activation != Activation::silu) json["activation"] = name_of(c.activation);
  for (const auto& [name, value] : {std::pair{"mlp_bias", c.mlp_bias}, {"wide_norms", c.wide_norms}, {"post_norms", c.post_norms}})
    if (value) json[name] = true;
  if (c.embedding_scale != 1) json["embedding_scale"] = c.embedding_scale;
  if (c.logit_softcap != 0) json["logit_softcap"] = c.logit_softcap;
  if (c.experts > 0) json.update({{"experts", c.experts}, {"experts_per_token", c.experts_per_token}});
  return json;
}

void read_computation(ConfigFields& all, ModelConfig& c) {
  const Json* object = all.object("computation");
  c.activation = Activation::silu;
  if (object == nullptr) return;
  ConfigFields fields(*object, all.where() + ": computation");
  c.activation = parse_activation(fields.text("activation", "silu"), "activation", fields.where());
  c.mlp_bias = fields.flag("mlp_bias", false);
  c.wide_norms = fields.flag("wide_norms", false);
  c.post_norms = fields.flag("post_norms", false);
  c.embedding_scale = fields.number("embedding_scale", 1.0);
  c.logit_softcap = fields.number("logit_softcap", 0.0);
  c.experts = fields.integer("experts", 0);
  c.experts_per_token = fields.integer("experts_per_token", 0);
  if (!(c.embedding_scale > 0 && c.embedding_scale < 1e6) || !(c.logit_softcap >= 0 && c.logit_softcap < 1e6) || c.experts < 0)
    fail<CheckpointError>("config", fields.where(), ": wanted embedding_scale in (0, 1e6), logit_softcap in [0, 1e6) and experts of at least 0, got ",
                          c.embedding_scale, ", ", c.logit_softcap, " and ", c.experts);
  fields.reject_unknown({});
}

}  // namespace mla
