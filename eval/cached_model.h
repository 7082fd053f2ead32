// A model read as decoding reads it, so that what a cache does to its tokens shows in likelihoods.
#pragma once
#include "eval/language_model.h"

namespace mla {

// Every sequence goes token after token through a cache of its own, from its first token on: each prediction sees the past as a
// generation with this cache would have seen it. One forward over a whole sequence would see nothing of the cache, because tokens attend
// in full precision to those that they come with. Costs as many forwards as a sequence has tokens.
class CachedModel : public LanguageModel {
 public:
  CachedModel(const Decoder& decoder, CacheFormat format) : decoder_(decoder), format_(std::move(format)) {}
  at::Tensor last_hidden(const at::Tensor& ids) override;
  const at::Tensor& head() const override { return decoder_.head; }
  double logit_softcap() const override { return decoder_.config.logit_softcap; }
  // Throws ShapeError for segments with a mask, a cache or a prefix: there is no order in which decoding would read them.
  at::Tensor packed_hidden(const at::Tensor& ids, const std::vector<Segment>& segments) override;

  // Of all caches at the end of their sequences, all layers; 0 before the first.
  double cache_bytes_per_token() const { return tokens_ > 0 ? static_cast<double>(bytes_) / static_cast<double>(tokens_) : 0; }

 private:
  const Decoder& decoder_;
  CacheFormat format_;
  int64_t bytes_ = 0, tokens_ = 0;
};

}  // namespace mla
