// What one layer remembers of past tokens; values and bytes per token are counted here and nowhere else.
#pragma once
#include <ATen/ATen.h>

#include <optional>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/model/kv_quant.h"

namespace mla {

// When tokens become integers. Whatever a forward reads attends to itself in full precision; only then are its tokens quantised.
//   window        the last `residual` tokens stay as they are; older ones are quantised once, as soon as a group of them is whole.
//                 Depends on the number of tokens alone, not on how they came.
//   transformers  its QuantizedCache (5.0, cache_utils.py): the first forward's tokens at once, later ones when `residual` of them
//                 have come together. There the whole past is quantised again each time, which gives the same codes up to rounding
//                 under quanto; here each token is quantised once.
enum class ResidualRule { window, transformers };

struct CacheFormat {
  std::optional<at::ScalarType> dtype;  // of tokens that are not quantised; the model's own by default
  std::optional<QuantFormat> quant;
  int64_t residual = 128;
  ResidualRule rule = ResidualRule::window;
  int64_t room = 0;  // tokens that the first ones make room for, so that nothing is copied before there are more; changes no number
  bool own() const { return !dtype && !quant; }  // the model's own dtype and no integers
};

// One of the two streams of a layer: the oldest tokens as integers, the others as they came or in the format's dtype.
class CacheStream {
 public:
  // All tokens, `more` [B, n, width] at the end, in more's dtype; those of earlier calls as the cache gives them back.
  at::Tensor extend(const at::Tensor& more, const CacheFormat& format);
  at::Tensor read(const CacheFormat& format) const;  // [B,T,width], undefined while empty
  int64_t length() const { return quantised_.tokens() + (plain_.defined() ? plain_.size(1) : 0); }
  int64_t width() const { return width_; }
  int64_t quantised_tokens() const { return quantised_.tokens(); }
  int64_t bytes() const;

 private:
  std::vector<at::Tensor> parts(const CacheFormat& format) const;
  void quantise_old(const CacheFormat& format, bool first);
  QuantBlock quantised_;  // views of the stores
  at::Tensor plain_;      // [B, n, width], a view of plain_store_ unless something is quantised
  at::Tensor plain_store_, codes_store_, scale_store_, minimum_store_;  // grown by doubling
  int64_t width_ = 0;
  at::ScalarType dtype_ = at::kFloat;  // in which tokens are given back
};

// Two streams per layer, both [B, T, width]: GQA keys and values; MLA latent and rope key; low-rank key and value latents.
class LayerCache {
 public:
  LayerCache() = default;
  explicit LayerCache(const CacheFormat& format) : format_(format) {}
  struct Streams {
    at::Tensor first, second;  // undefined while empty
  };
  // Appends [B, more, width] to both streams; returns what the new tokens attend to, themselves included.
  Streams extend(const at::Tensor& more_first, const at::Tensor& more_second);
  Streams read() const;
  int64_t length() const { return first_.length(); }
  // Values kept per token (0 while empty).
  int64_t values_per_token() const { return first_.width() + second_.width(); }
  // Of the tokens held: codes, scales, minima and what is not quantised; without what growth keeps in reserve.
  int64_t bytes() const { return first_.bytes() + second_.bytes(); }
  int64_t quantised_tokens() const { return first_.quantised_tokens(); }

 private:
  CacheFormat format_;
  CacheStream first_, second_;
};

struct KvCache {
  std::vector<LayerCache> layers;
  CacheFormat format;  // of layers that prepare() makes
  // Gives an empty cache its layers.
  void prepare(std::size_t count) {
    if (layers.empty()) layers.assign(count, LayerCache(format));
  }
  int64_t length() const { return layers.empty() ? 0 : layers.front().length(); }
  int64_t bytes() const;
};

// fp32, bf16, fp16, int8, int4, int2; empty: the model's own. Throws ConfigError otherwise.
CacheFormat parse_cache_format(const std::string& name);
// "int4-g64-r128-token-quanto", "bf16"; empty for the model's own. Names differ where numbers may.
std::string cache_format_name(const CacheFormat& format);
Json cache_format_json(const CacheFormat& format);

}  // namespace mla
