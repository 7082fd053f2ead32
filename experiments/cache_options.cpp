#include "experiments/cache_options.h"

#include "core/base/error.h"

namespace mla {

void add_cache_flags(CLI::App& command, CacheFlags& flags) {
  const std::string group = "KV cache";
  command.add_option("--kv-cache", flags.kind, "What the cache holds: fp32, bf16, fp16, int8, int4 or int2 [the model's --dtype]")->group(group);
  const auto for_integers = [&](const std::string& name) { return [&flags, name](const std::string&) { flags.given = flags.given.empty() ? name : flags.given; return std::string(); }; };
  const auto add = [&](const std::string& name, auto& value, const std::string& meaning) { return command.add_option(name, value, meaning)->each(for_integers(name))->group(group); };
  add("--kv-group-size", flags.group, "Values that share a scale and a minimum [64]")->check(CLI::Range(1, 1 << 20));
  add("--kv-residual", flags.residual, "Last tokens that stay in full precision [128]")->check(CLI::Range(0, 1 << 20));
  add("--kv-axis", flags.axis, "A group is in one token's row (token) or one channel of tokens in succession (channel) [token]")->check(CLI::IsMember({"token", "channel"}));
  add("--kv-backend", flags.rule, "How scale and minimum are found: quanto (range) or hqq (half-quadratic) [quanto]")->check(CLI::IsMember({"quanto", "hqq"}));
  add("--kv-residual-rule", flags.residual_rule, "window: always the last tokens stay; transformers: the prompt at once, then lumps of --kv-residual [window]")
      ->check(CLI::IsMember({"window", "transformers"}));
  add("--kv-scales", flags.scales, "Type of scales and minima: fp16 or fp32 [fp16]")->check(CLI::IsMember({"fp16", "fp32"}));
}

CacheFormat cache_format(const CacheFlags& flags, at::ScalarType model_dtype) {
  CacheFormat format = parse_cache_format(flags.kind);
  if (!format.quant && !flags.given.empty())
    fail<UsageError>("kv_cache", "wanted --kv-cache int8, int4 or int2 beside ", flags.given, ", got ", flags.kind.empty() ? "none" : flags.kind);
  if (format.dtype == model_dtype) format.dtype.reset();
  if (!format.quant) return format;
  format.quant->group = flags.group;
  format.quant->axis = flags.axis == "token" ? QuantAxis::token : QuantAxis::channel;
  format.quant->rule = flags.rule == "quanto" ? QuantRule::quanto : QuantRule::hqq;
  format.quant->scales = flags.scales == "fp16" ? at::kHalf : at::kFloat;
  format.residual = flags.residual;
  format.rule = flags.residual_rule == "window" ? ResidualRule::window : ResidualRule::transformers;
  return format;
}

}  // namespace mla
