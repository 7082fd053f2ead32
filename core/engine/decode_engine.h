// Greedy decoding of a batch of sequences over a paged cache with the operators of core/cuda: on a card with the kernels, on the CPU with
// their C++ references. A step is launches alone: no synchronisation with the host, no allocation, so that a card gets it as one graph.
// Prompts are read by the decoder; the engine takes over their cache.
//   DecodeEngine engine(decoder, engine_machine(decoder.device()), {prompt + 20});
//   KvCache cache;
//   const at::Tensor hidden = decoder.last_hidden(ids, &cache);                       // [1,prompt,D]
//   engine.adopt(0, cache, decoder.logits(hidden.select(1, -1)).argmax(-1, true));    // the first new token
//   engine.run(19);                                                                   // 19 more
//   engine.tokens();                                                                  // of the sequence, from the first new one on
#pragma once
#include <memory>

#include "core/engine/attention_step.h"
#include "core/engine/held_models.h"
#include "core/engine/step_graph.h"
#include "core/engine/token_choice.h"

namespace mla {

struct EngineOptions {
  CacheFormat cache;
  bool graph = true;  // of a step, on a card; else each launch by itself
};

class DecodeEngine {
 public:
  // Pages for room[b] tokens of sequence b, all of them now. `decoder` must outlive it. Throws ConfigError for what it does not hold, and what
  // the allocator throws.
  DecodeEngine(const Decoder& decoder, const EngineMachine& machine, const std::vector<int64_t>& room, const EngineOptions& options = {});
  ~DecodeEngine();

  // The S sequences of `cache`, in the model's own dtype, become first .. first+S-1; `cache` is empty afterwards. An empty one begins sequences
  // without a past. next [S,n]: the tokens that follow, n >= 1, of which the first is fed by the next step. Throws ShapeError, ResourceError where
  // the past has no room.
  void adopt(int64_t first, KvCache& cache, const at::Tensor& next);
  // See TokenChoice::forbid.
  void forbid(int64_t sequence, const std::vector<int32_t>& ids, int64_t before) { choice_.forbid(sequence, ids, before); }

  // Feeds `steps` tokens of each sequence and waits for the device. Throws ResourceError, before anything runs, where a sequence has no room,
  // NumericalError, Interrupted.
  void run(int64_t steps);

  // What adopt() left is remembered, and stands again.
  void save();
  void restore();

  // Of sequence b: tokens()[b][i] stands at position i, from the first of `next` on; the last one is chosen and not yet fed.
  at::Tensor tokens() const { return choice_.tokens(); }  // [B, longest room + 1] int64, on the CPU
  at::Tensor logits() const;                              // [B,V] fp32 of the last step, as Decoder::logits() has them
  const std::vector<int64_t>& lengths() const { return lengths_; }  // tokens in the cache
  int64_t cache_bytes(int64_t tokens) const;  // of a sequence of that many, all layers
  int64_t cache_bytes() const;                // of all sequences
  int64_t page_bytes() const;                 // of one page over all layers
  const PagedLayer& layer(std::size_t i) const { return attention_[i]->cache(); }

 private:
  void check_room(int64_t sequence, int64_t more) const;
  void step();
  void place();
  void mlp(const DecoderLayer& layer);
  void add_and_norm(const at::Tensor& added, const at::Tensor& weight);

  const Decoder& decoder_;
  EngineMachine machine_;
  EngineOptions options_;
  std::vector<int64_t> room_, lengths_, saved_lengths_;  // [B]
  StepBuffers buffers_;
  EngineBatch batch_;
  TokenChoice choice_;
  std::vector<std::unique_ptr<AttentionStep>> attention_;
  StepGraph graph_;
  std::optional<c10::Stream> stream_;  // of the steps on a card: nothing else uses its memory
  bool warm_ = false;
  at::Tensor residual_, normed_, added_, gate_up_, inner_, embedding_scale_;  // [B,D] x 3, [B,2*I], [B,I], []
  at::Tensor ring_row_;  // [B] int64: first row of a sequence's ring
  at::Tensor saved_position_;
};

}  // namespace mla
