#include "eval/truncate.h"

#include "core/base/error.h"

namespace mla {
namespace {

std::vector<int32_t> encode(const Tokenizer& tokenizer, const std::string& prompt, const TruncateOptions& options) {
  if (options.max_length < 2) fail<ConfigError>("truncate", "wanted room for at least 2 tokens, got ", options.max_length);
  std::vector<int32_t> ids = tokenizer.encode(prompt, {.parse_special = options.parse_special});
  if (options.bos) {
    if (tokenizer.bos_id() < 0) fail<ConfigError>("truncate", "wanted a tokenizer with a BOS token, got one without");
    ids.insert(ids.begin(), tokenizer.bos_id());
  }
  return ids;
}

}  // namespace

std::string truncate_longbench(const Tokenizer& tokenizer, const std::string& prompt, const TruncateOptions& options) {
  const std::vector<int32_t> ids = encode(tokenizer, prompt, options);
  if (static_cast<int64_t>(ids.size()) <= options.max_length) return prompt;
  const std::span<const int32_t> all(ids);
  const auto half = static_cast<std::size_t>(options.max_length / 2);
  return tokenizer.decode(all.first(half)) + tokenizer.decode(all.last(half));
}

std::vector<int32_t> truncate_tokens(const Tokenizer& tokenizer, const std::string& prompt, const TruncateOptions& options) {
  std::vector<int32_t> ids = encode(tokenizer, prompt, options);
  const auto most = static_cast<std::ptrdiff_t>(options.max_length);
  if (static_cast<std::ptrdiff_t>(ids.size()) <= most) return ids;
  ids.erase(ids.begin() + (most - most / 2), ids.end() - most / 2);
  return ids;
}

}  // namespace mla
