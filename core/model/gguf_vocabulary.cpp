#include "core/model/gguf_vocabulary.h"

#include <algorithm>
#include <unordered_map>

#include "core/base/error.h"

namespace mla {
namespace {

// llama.cpp's token types.
enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

std::vector<int32_t> types_of(const TokenizerData& data) {
  std::vector<int32_t> types(data.tokens.size(), kNormal);
  if (data.vocabulary == Vocabulary::characters)
    for (std::size_t i = 0; i < types.size(); ++i) {
      const std::string& token = data.tokens[i];
      if (token.size() == 6 && token.starts_with("<0x") && token.back() == '>') types[i] = kByte;
    }
  for (const AddedToken& token : data.added) types[static_cast<std::size_t>(token.id)] = token.special ? kControl : kUserDefined;
  const auto unknown = std::find(data.tokens.begin(), data.tokens.end(), "<unk>");
  if (data.vocabulary == Vocabulary::characters && unknown != data.tokens.end()) types[static_cast<std::size_t>(unknown - data.tokens.begin())] = kUnknown;
  return types;
}

// A token's score falls with the rank of the first merge that makes it: SentencePiece then merges in the same order.
std::vector<float> scores_of(const TokenizerData& data, std::size_t size) {
  std::unordered_map<std::string, std::size_t> rank;
  for (std::size_t i = 0; i < data.merges.size(); ++i) rank.emplace(data.merges[i].first + data.merges[i].second, i);
  std::vector<float> scores(size, 0.0f);
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    const auto found = rank.find(data.tokens[i]);
    scores[i] = -static_cast<float>(found == rank.end() ? data.merges.size() : found->second);
  }
  return scores;
}

const char* pre_of(Pretokenizer kind) {
  switch (kind) {
    case Pretokenizer::gpt2: return "gpt-2";
    case Pretokenizer::smollm: return "smollm";
    case Pretokenizer::llama3: return "llama-bpe";
    case Pretokenizer::qwen2: return "qwen2";
    case Pretokenizer::whole: case Pretokenizer::words: break;
  }
  fail<ConfigError>("export", "llama.cpp has no tokenizer like this model's");
}

bool has_prefix(const TokenizerData& data) {
  return data.prefix != Prefix::never || std::any_of(data.normalizer.begin(), data.normalizer.end(), [](const NormalizerStep& step) { return step.kind == NormalizerStep::Kind::prepend; });
}

}  // namespace

void add_vocabulary(const Tokenizer& tokenizer, int64_t rows, GgufWriter& out) {
  const TokenizerData& data = tokenizer.data();
  std::vector<std::string> tokens = data.tokens;
  std::vector<int32_t> types = types_of(data);
  const auto size = static_cast<std::size_t>(rows);
  if (tokens.size() > size) fail<ConfigError>("export", "wanted at most ", rows, " tokens, the embedding's rows, got ", tokens.size());
  for (std::size_t i = tokens.size(); i < size; ++i) {
    tokens.push_back("[PAD" + std::to_string(i) + "]");
    types.push_back(kUnused);
  }
  const bool characters = data.vocabulary == Vocabulary::characters;
  if (characters && data.pretokenizer == Pretokenizer::words) pre_of(data.pretokenizer);
  out.add_text("tokenizer.ggml.model", characters ? "llama" : "gpt2");
  out.add_text("tokenizer.ggml.pre", characters ? "default" : pre_of(data.pretokenizer));
  out.add_texts("tokenizer.ggml.tokens", tokens);
  out.add_ints("tokenizer.ggml.token_type", types);
  if (characters) {
    out.add_floats("tokenizer.ggml.scores", scores_of(data, size));
    out.add_bool("tokenizer.ggml.add_space_prefix", has_prefix(data));
  } else {
    std::vector<std::string> merges;
    for (const auto& [left, right] : data.merges) merges.push_back(left + ' ' + right);
    out.add_texts("tokenizer.ggml.merges", merges);
  }
  if (data.bos_id >= 0) out.add_uint("tokenizer.ggml.bos_token_id", static_cast<uint64_t>(data.bos_id));
  if (data.eos_id >= 0) out.add_uint("tokenizer.ggml.eos_token_id", static_cast<uint64_t>(data.eos_id));
  out.add_bool("tokenizer.ggml.add_bos_token", tokenizer.adds_bos());
  out.add_bool("tokenizer.ggml.add_eos_token", !data.after.empty());
}

}  // namespace mla
