#include "eval/generation_rules.h"

#include <algorithm>

#include "core/base/process.h"

namespace mla {
namespace {

constexpr int64_t kPrefill = 2048;  // tokens of a prompt read at once, so that memory does not grow with its length

}  // namespace

at::Tensor positions_from(int64_t start, int64_t count) { return at::arange(start, start + count, at::TensorOptions(at::kLong)); }

at::Tensor read_prompt(LanguageModel& model, const std::vector<int32_t>& prompt, KvCache& cache) {
  const at::Tensor ids = at::tensor(std::vector<int64_t>(prompt.begin(), prompt.end()), at::kLong);
  // A prompt attends to itself in full precision, as transformers has it, so a cache that rounds gets it in one piece.
  const int64_t piece = cache.format.own() ? kPrefill : ids.numel();
  at::Tensor last;
  for (int64_t start = 0; start < ids.numel(); start += piece) {
    throw_if_interrupted();
    const int64_t count = std::min(piece, ids.numel() - start);
    const at::Tensor hidden = model.packed_hidden(ids.narrow(0, start, count), {{positions_from(start, count), {}, &cache}});
    last = hidden[count - 1].clone();
  }
  return last;
}

bool stops(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, const std::vector<std::string>& stop) {
  if (stop.empty()) return false;
  std::size_t longest = 0;
  for (const std::string& s : stop) longest = std::max(longest, s.size());
  std::size_t bytes = 0, first = ids.size();
  while (first > 0 && bytes < longest + tokenizer.piece(ids.back()).size()) bytes += tokenizer.piece(ids[--first]).size();
  return first_stop(tokenizer.decode({ids.data() + first, ids.size() - first}), stop) != std::string::npos;
}

bool is_stop_id(const GenerationRequest& request, int32_t id) { return std::find(request.stop_ids.begin(), request.stop_ids.end(), id) != request.stop_ids.end(); }

std::string generated_text(const Tokenizer& tokenizer, const GenerationRequest& request, const std::vector<int32_t>& ids) {
  std::string text = tokenizer.decode(ids);
  text.resize(std::min(text.size(), first_stop(text, request.stop)));
  return text;
}

std::size_t first_stop(const std::string& text, const std::vector<std::string>& stop) {
  std::size_t first = std::string::npos;
  for (const std::string& s : stop)
    if (!s.empty()) first = std::min(first, text.find(s));
  return first;
}

}  // namespace mla
