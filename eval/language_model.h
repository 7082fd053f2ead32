// What an evaluator may ask of a model, and nothing else.
#pragma once
#include <ATen/ATen.h>

#include "core/model/decoder.h"

namespace mla {

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  virtual at::Tensor last_hidden(const at::Tensor& ids) = 0;  // [B,T] int64 -> [B,T,D] normed
  virtual const at::Tensor& head() const = 0;                 // [V,D]
  virtual double logit_softcap() const { return 0; }          // logits l = hidden head^T become cap * tanh(l / cap); 0: they stay
  // ids [N] of all segments -> [N,D] normed. Segments and their caches: core/model/attention.h.
  virtual at::Tensor packed_hidden(const at::Tensor& ids, const std::vector<Segment>& segments) = 0;
  virtual const Decoder* decoder() const { return nullptr; }  // that this model is and nothing more, where it is one
};

class DecoderModel : public LanguageModel {
 public:
  explicit DecoderModel(const Decoder& decoder) : decoder_(decoder) {}
  at::Tensor last_hidden(const at::Tensor& ids) override { return decoder_.last_hidden(ids); }
  const at::Tensor& head() const override { return decoder_.head; }
  double logit_softcap() const override { return decoder_.config.logit_softcap; }
  at::Tensor packed_hidden(const at::Tensor& ids, const std::vector<Segment>& segments) override { return decoder_.packed_hidden(ids, segments); }
  const Decoder* decoder() const override { return &decoder_; }

 private:
  const Decoder& decoder_;
};

}  // namespace mla
