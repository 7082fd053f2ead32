#include "eval/engine_generation.h"

#include <algorithm>
#include <limits>

#include "core/engine/decode_engine.h"
#include "core/tensor/products.h"
#include "eval/generation_rules.h"

namespace mla {
namespace {

constexpr int64_t kStepsAtATime = 16;  // between looks at what was generated

// One sequence on its way.
struct Ongoing {
  std::size_t request = 0;
  std::vector<int32_t> ids;
  bool finished = false, by_stop_id = false;
};

class EngineGroup {
 public:
  EngineGroup(LanguageModel& model, const Tokenizer& tokenizer, const std::vector<GenerationRequest>& requests, const std::vector<std::size_t>& members)
      : model_(model), tokenizer_(tokenizer), requests_(requests) {
    for (const std::size_t member : members) {
      ongoing_.push_back({.request = member});
      most_ = std::max(most_, requests[member].max_new_tokens);
    }
  }

  std::vector<Generated> run(const EngineMachine& machine, const CacheFormat& cache) {
    std::vector<int64_t> room;
    for (const Ongoing& sequence : ongoing_) room.push_back(prompt_of(sequence) + std::max<int64_t>(most_ - 1, 0));
    DecodeEngine engine(*model_.decoder(), machine, room, {.cache = cache});
    for (std::size_t b = 0; b < ongoing_.size(); ++b) start(engine, b);
    for (int64_t produced = 1; produced < most_ && any_left();) {
      const int64_t steps = std::min(kStepsAtATime, most_ - produced);
      engine.run(steps);
      const at::Tensor tokens = engine.tokens();
      for (std::size_t b = 0; b < ongoing_.size(); ++b)
        for (int64_t i = produced; i < produced + steps; ++i) take(ongoing_[b], static_cast<int32_t>(tokens[static_cast<int64_t>(b)][prompt_of(ongoing_[b]) + i].item<int64_t>()));
      produced += steps;
    }
    return results(engine);
  }

 private:
  const GenerationRequest& request_of(const Ongoing& sequence) const { return requests_[sequence.request]; }
  int64_t prompt_of(const Ongoing& sequence) const { return static_cast<int64_t>(request_of(sequence).prompt.size()); }
  bool any_left() const {
    return std::any_of(ongoing_.begin(), ongoing_.end(), [](const Ongoing& sequence) { return !sequence.finished; });
  }

  // Prompt, first token, and what must not be chosen for a while.
  void start(DecodeEngine& engine, std::size_t b) {
    Ongoing& sequence = ongoing_[b];
    const GenerationRequest& request = request_of(sequence);
    KvCache cache;
    at::Tensor logits = project(read_prompt(model_, request.prompt, cache).unsqueeze(0), model_.head()).to(at::kFloat);  // a soft-cap would not change their order
    if (request.min_new_tokens > 0) {
      for (const int32_t id : request.stop_ids) logits[0][id] = -std::numeric_limits<float>::infinity();
      engine.forbid(static_cast<int64_t>(b), request.stop_ids, prompt_of(sequence) + request.min_new_tokens);
    }
    const at::Tensor next = logits.argmax(-1, true);
    engine.adopt(static_cast<int64_t>(b), cache, next);
    take(sequence, static_cast<int32_t>(next.item<int64_t>()));
  }

  // As Group::take() and choose() in batch_generation.cpp have it.
  void take(Ongoing& sequence, int32_t id) const {
    const GenerationRequest& request = request_of(sequence);
    const auto full = [&] { return static_cast<int64_t>(sequence.ids.size()) >= request.max_new_tokens; };
    if (sequence.finished || full()) {
      sequence.finished = true;
      return;
    }
    sequence.by_stop_id = is_stop_id(request, id);
    if (!sequence.by_stop_id) sequence.ids.push_back(id);
    sequence.finished = sequence.by_stop_id || full() || stops(tokenizer_, sequence.ids, request.stop);
  }

  std::vector<Generated> results(const DecodeEngine& engine) const {
    std::vector<Generated> all;
    for (const Ongoing& sequence : ongoing_) {
      const auto count = static_cast<int64_t>(sequence.ids.size());
      const int64_t cached = prompt_of(sequence) + (sequence.by_stop_id ? count : std::max<int64_t>(count - 1, 0));  // the last token is not fed
      all.push_back({sequence.request, sequence.ids, generated_text(tokenizer_, request_of(sequence), sequence.ids), engine.cache_bytes(cached), cached});
    }
    return all;
  }

  LanguageModel& model_;
  const Tokenizer& tokenizer_;
  const std::vector<GenerationRequest>& requests_;
  std::vector<Ongoing> ongoing_;
  int64_t most_ = 0;  // new tokens of any of them
};

}  // namespace

std::vector<Generated> generate_with_engine(LanguageModel& model, const EngineMachine& machine, const Tokenizer& tokenizer, const std::vector<GenerationRequest>& requests,
                                            const std::vector<std::size_t>& members, const CacheFormat& cache) {
  return EngineGroup(model, tokenizer, requests, members).run(machine, cache);
}

}  // namespace mla
