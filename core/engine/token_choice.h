// The head of a step: logits of each sequence, its most likely token, and what is fed next, all on the device.
#pragma once
#include "core/engine/step_tensors.h"
#include "core/model/decoder.h"

namespace mla {

class TokenChoice {
 public:
  // At most `room` tokens of each sequence are fed. `decoder` must outlive it.
  TokenChoice(const Decoder& decoder, const EngineMachine& machine, int64_t room, StepBuffers& buffers, int64_t batch);

  // The tokens that follow the first `start` of sequence `first` and those behind it; once they are used up, each step's own choice follows.
  // tokens [S,n] int64, n >= 1
  void give(int64_t first, int64_t start, const at::Tensor& tokens);
  // ids [B] of sequence `row` that are not chosen while fewer than `before` tokens stand before the choice.
  void forbid(int64_t sequence, const std::vector<int32_t>& ids, int64_t before);

  const at::Tensor& position() const { return position_; }  // [B,1] int64, of the token that is fed next
  const at::Tensor& fed();                                  // [B] int64: that token
  // normed [B,D] -> logits, choice, and the next position.
  void choose(const at::Tensor& normed);

  at::Tensor tokens() const { return tokens_.cpu(); }  // [B,room+1] int64: all tokens of each sequence from its first given one on
  at::Tensor logits() const { return logits_; }        // [B,V] of the last step, before a soft-cap
  void require_finite() const;                         // throws NumericalError when the logits of any step were not

 private:
  const Decoder& decoder_;
  EngineMachine machine_;
  at::Tensor position_, given_;    // [B,1] int64; given_: position of the last token that was given
  at::Tensor tokens_;              // [B,room+1] int64
  at::Tensor fed_, kept_, chosen_, is_given_;  // [B], [B,1], [B,1], [B,1] bool
  at::Tensor logits_;              // [B,V]
  at::Tensor running_, fresh_;     // [B,5] int64: RunningScore
  at::Tensor targets_;             // [B] int64; the scores' targets are not used
  at::Tensor sums_;                // [B] fp64: sums of exponentials of all steps, finite while all logits are
  at::Tensor forbidden_, before_, hidden_;  // [B,V] bool, [B,1] int64, [B,V] bool; undefined while nothing is forbidden
};

}  // namespace mla
