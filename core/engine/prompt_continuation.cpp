#include "core/engine/prompt_continuation.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/engine/decode_engine.h"
#include "core/model/generation.h"

namespace mla {
namespace {

// What becomes of each token that was chosen.
class Taker {
 public:
  Taker(const PromptOptions& options, const std::function<bool(int32_t)>& on_token) : options_(options), on_token_(on_token) {}

  void take(int32_t id) {
    if (ended_) return;
    by_stop_id_ = std::find(options_.stop_ids.begin(), options_.stop_ids.end(), id) != options_.stop_ids.end();
    if (!by_stop_id_) ids.push_back(id);
    ended_ = by_stop_id_ || (on_token_ && !on_token_(id));
  }
  bool ended() const { return ended_; }
  int64_t fed() const { return static_cast<int64_t>(ids.size()) - (by_stop_id_ ? 0 : 1); }  // all but the token that was chosen last

  std::vector<int32_t> ids;

 private:
  const PromptOptions& options_;
  const std::function<bool(int32_t)>& on_token_;
  bool by_stop_id_ = false, ended_ = false;
};

PromptContinuation by_engine(const Decoder& decoder, const EngineMachine& machine, const std::vector<int32_t>& prompt, const PromptOptions& options,
                             const std::function<bool(int32_t)>& on_token) {
  const auto start = static_cast<int64_t>(prompt.size());
  DecodeEngine engine(decoder, machine, {start + options.max_new_tokens - 1}, {.cache = options.cache});
  KvCache cache;  // a prompt attends to itself in full precision; integers are made when the engine adopts it
  const at::Tensor ids = at::tensor(std::vector<int64_t>(prompt.begin(), prompt.end()), at::kLong).unsqueeze(0);
  const at::Tensor first = decoder.logits(decoder.last_hidden(ids, &cache).select(1, -1)).argmax(-1, true);  // [1,1]
  engine.adopt(0, cache, first);
  Taker taker(options, on_token);
  taker.take(static_cast<int32_t>(first.item<int64_t>()));
  for (int64_t chosen = 1; chosen < options.max_new_tokens && !taker.ended();) {
    const int64_t steps = std::min(options.steps, options.max_new_tokens - chosen);
    engine.run(steps);
    const at::Tensor tokens = engine.tokens()[0].narrow(0, start + chosen, steps);
    for (int64_t i = 0; i < steps; ++i) taker.take(static_cast<int32_t>(tokens[i].item<int64_t>()));
    chosen += steps;
  }
  const int64_t cached = start + taker.fed();
  return {std::move(taker.ids), cached, engine.cache_bytes(cached)};
}

}  // namespace

PromptContinuation continue_prompt(const Decoder& decoder, const DecodeWay& way, const std::vector<int32_t>& prompt, const PromptOptions& options,
                                   const std::function<bool(int32_t)>& on_token) {
  if (prompt.empty()) fail<ConfigError>("generate", "wanted a prompt of at least one token, got none");
  if (options.max_new_tokens < 1 || options.steps < 1) fail<ConfigError>("generate", "wanted at least one new token and one step at a time, got ", options.max_new_tokens, " and ", options.steps);
  if (way.engine) return by_engine(decoder, *way.engine, prompt, options, on_token);
  KvCache cache{{}, options.cache};
  std::vector<int32_t> ids = generate(decoder, prompt, {.max_new_tokens = options.max_new_tokens, .stop_ids = options.stop_ids, .cache = &cache}, on_token);
  return {std::move(ids), cache.length(), cache.bytes()};
}

}  // namespace mla
