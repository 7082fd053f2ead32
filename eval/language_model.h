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
};

class DecoderModel : public LanguageModel {
 public:
  explicit DecoderModel(const Decoder& decoder) : decoder_(decoder) {}
  at::Tensor last_hidden(const at::Tensor& ids) override { return decoder_.last_hidden(ids); }
  const at::Tensor& head() const override { return decoder_.head; }

 private:
  const Decoder& decoder_;
};

}  // namespace mla
