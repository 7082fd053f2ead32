#include "core/model/kv_cache.h"

#include "core/base/error.h"
#include "core/base/names.h"

namespace mla {
namespace {

// `store` grown to hold `more` after `length` tokens (its dim 1), and at least `room` of them; returns the view of all of them.
at::Tensor grow(at::Tensor& store, int64_t length, const at::Tensor& more, int64_t room = 0) {
  const int64_t total = length + more.size(1);
  if (!store.defined() || store.size(1) < total) {
    std::vector<int64_t> shape = more.sizes().vec();
    shape[1] = std::max({total, 2 * length, room});
    at::Tensor larger = at::empty(shape, more.options());
    if (length > 0) larger.narrow(1, 0, length).copy_(store.narrow(1, 0, length));
    store = larger;
  }
  store.narrow(1, length, more.size(1)).copy_(more);
  return store.narrow(1, 0, total);
}

int64_t rows(const at::Tensor& view) { return view.defined() ? view.size(1) : 0; }
int64_t bytes_of(const at::Tensor& view) { return view.defined() ? view.numel() * static_cast<int64_t>(view.element_size()) : 0; }

constexpr std::pair<const char*, at::ScalarType> kDtypes[] = {{"fp32", at::kFloat}, {"bf16", at::kBFloat16}, {"fp16", at::kHalf}};
constexpr std::pair<const char*, int> kIntegers[] = {{"int8", 8}, {"int4", 4}, {"int2", 2}};

}  // namespace

at::Tensor CacheStream::extend(const at::Tensor& more, const CacheFormat& format) {
  const bool first = length() == 0;
  width_ = more.size(2);
  dtype_ = more.scalar_type();
  std::vector<at::Tensor> all = format.own() || first ? std::vector<at::Tensor>() : parts(format);
  plain_ = grow(plain_store_, rows(plain_), format.dtype ? more.to(*format.dtype) : more, format.quant ? 0 : format.room);
  if (format.own()) return plain_;
  if (format.quant) quantise_old(format, first);
  all.push_back(more);
  return all.size() > 1 ? at::cat(all, 1) : more;
}

std::vector<at::Tensor> CacheStream::parts(const CacheFormat& format) const {
  std::vector<at::Tensor> parts;
  if (quantised_.tokens() > 0) parts.push_back(dequantize(quantised_, *format.quant, width_, dtype_));
  if (rows(plain_) > 0) parts.push_back(plain_.to(dtype_));
  return parts;
}

at::Tensor CacheStream::read(const CacheFormat& format) const {
  const std::vector<at::Tensor> all = parts(format);
  return all.empty() ? at::Tensor() : all.size() == 1 ? all.front() : at::cat(all, 1);
}

void CacheStream::quantise_old(const CacheFormat& format, bool first) {
  const int64_t held = rows(plain_), step = format.quant->axis == QuantAxis::channel ? format.quant->group : 1;
  const bool whole = first || held >= format.residual;
  const int64_t wanted = format.rule == ResidualRule::window ? held - format.residual : (whole ? held : 0);
  const int64_t count = std::max<int64_t>(wanted, 0) / step * step;
  if (count == 0 || width_ == 0) return;  // no width: a latent without a rope key
  const QuantBlock block = quantize(plain_.narrow(1, 0, count), *format.quant);
  quantised_.scale = grow(scale_store_, rows(quantised_.scale), block.scale);
  quantised_.minimum = grow(minimum_store_, rows(quantised_.minimum), block.minimum);
  quantised_.codes = grow(codes_store_, quantised_.tokens(), block.codes);
  plain_store_ = plain_.narrow(1, count, held - count).clone();  // lets the quantised tokens' memory go
  plain_ = plain_store_;
}

int64_t CacheStream::bytes() const { return quantised_.bytes() + bytes_of(plain_); }

LayerCache::Streams LayerCache::extend(const at::Tensor& more_first, const at::Tensor& more_second) {
  return {first_.extend(more_first, format_), second_.extend(more_second, format_)};
}

LayerCache::Streams LayerCache::read() const { return {first_.read(format_), second_.read(format_)}; }

int64_t KvCache::bytes() const {
  int64_t sum = 0;
  for (const LayerCache& layer : layers) sum += layer.bytes();
  return sum;
}

CacheFormat parse_cache_format(const std::string& name) {
  CacheFormat format;
  if (name.empty()) return format;
  for (const auto& [known, dtype] : kDtypes)
    if (name == known) format.dtype = dtype;
  for (const auto& [known, bits] : kIntegers)
    if (name == known) format.quant = QuantFormat{.bits = bits};
  if (format.own())
    fail<ConfigError>("kv_cache", "unknown cache '", name, "'", known_names_hint(name, {"fp32", "bf16", "fp16", "int8", "int4", "int2"}));
  return format;
}

std::string cache_format_name(const CacheFormat& format) {
  std::string name;
  for (const auto& [known, dtype] : kDtypes)
    if (format.dtype == dtype) name = known;
  if (!format.quant) return name;
  const QuantFormat& quant = *format.quant;
  name = "int" + std::to_string(quant.bits) + "-g" + std::to_string(quant.group) + "-r" + std::to_string(format.residual);
  name += quant.axis == QuantAxis::token ? "-token" : "-channel";
  name += quant.rule == QuantRule::quanto ? "-quanto" : "-hqq";
  if (format.rule == ResidualRule::transformers) name += "-transformers";
  if (quant.scales == at::kFloat) name += "-scales32";
  return name;
}

Json cache_format_json(const CacheFormat& format) {
  Json json{{"name", cache_format_name(format)}};
  if (!format.quant) return json;
  const QuantFormat& quant = *format.quant;
  json.update({{"bits", quant.bits}, {"group", quant.group}, {"residual", format.residual}, {"axis", quant.axis == QuantAxis::token ? "token" : "channel"},
               {"rule", quant.rule == QuantRule::quanto ? "quanto" : "hqq"}, {"scales", quant.scales == at::kHalf ? "fp16" : "fp32"},
               {"residual_rule", format.rule == ResidualRule::window ? "window" : "transformers"}});
  return json;
}

}  // namespace mla
