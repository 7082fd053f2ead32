#include "core/model/generation.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/process.h"

namespace mla {

std::vector<int32_t> generate(const Decoder& decoder, const std::vector<int32_t>& prompt, const GenerationOptions& options,
                              const std::function<bool(int32_t)>& on_token) {
  if (prompt.empty()) fail<ConfigError>("generate", "wanted a prompt of at least one token, got none");
  at::Tensor ids = at::tensor(std::vector<int64_t>(prompt.begin(), prompt.end()), at::kLong).unsqueeze(0);
  KvCache own;
  KvCache& cache = options.cache != nullptr ? *options.cache : own;
  std::vector<int32_t> generated;
  while (static_cast<int64_t>(generated.size()) < options.max_new_tokens) {
    throw_if_interrupted();
    const at::Tensor hidden = decoder.last_hidden(ids, &cache);
    const auto next = static_cast<int32_t>(decoder.logits(hidden.select(1, -1)).argmax(-1).item<int64_t>());
    if (std::find(options.stop_ids.begin(), options.stop_ids.end(), next) != options.stop_ids.end()) break;
    generated.push_back(next);
    if (on_token && !on_token(next)) break;
    ids = at::full({1, 1}, next, at::kLong);
  }
  return generated;
}

}  // namespace mla
