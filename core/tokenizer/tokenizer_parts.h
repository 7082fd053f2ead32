// The pieces of a tokenizer.json that its reader and its writer, and the GGUF reader, agree on.
#pragma once
#include <string>
#include <utility>

#include "core/tokenizer/tokenizer_data.h"

namespace mla {

inline constexpr std::size_t kMaxVocabulary = std::size_t{1} << 21;

// "a b" as two tokens. Throws CheckpointError.
std::pair<std::string, std::string> split_merge(const std::string& line, const std::string& where);

// The regular expression of a byte-level pre-tokenizer as files write it; null where it has none of its own.
const char* split_pattern(Pretokenizer kind);

}  // namespace mla
