// A task's rows as what a model is asked. No tensor, no tokenizer: an item is text.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "eval/task_data.h"

namespace mla {

// The choice whose continuation is likeliest wins; the first one where they tie.
struct ChoiceItem {
  std::string id;
  std::string system;  // with ItemOptions::chat, the task's description; else it stands in the context
  std::vector<std::pair<std::string, std::string>> requests;  // context, continuation with its delimiter
  int64_t gold = 0;
  // Of the choice's text without the delimiter, in code points and in UTF-8 bytes: divisors of acc_norm and acc_bytes. Lighteval's
  // acc_norm_nospace leaves out one leading blank, which here is the delimiter, so that choice_chars serves it too.
  std::vector<int64_t> choice_chars, choice_bytes;
};

struct GenerationItem {
  std::string id;
  std::string system;             // as ChoiceItem's
  std::string prompt;             // before truncation and before the chat template
  std::vector<std::string> stop;
  int64_t max_new_tokens = 0;
  std::vector<std::string> answers, all_classes;
  int64_t length = 0;             // LongBench's own count; for a needle, its tokens asked for
  bool chat = false;              // may be wrapped into the chat template
  bool first_line = false;        // score the first line only
  int64_t min_new_tokens = 0;     // no stop before so many
};

struct TaskItems {
  std::vector<ChoiceItem> choices;          // of multiple_choice and partial_choice
  std::vector<GenerationItem> generations;  // of the other kinds
  std::string data_sha256;                  // of every file read, one after the other
  std::vector<std::string> warnings;
};

struct ItemOptions {
  std::optional<int64_t> limit;  // first rows only
  std::optional<int64_t> shots;  // instead of the task's own number
  bool chat = false;             // the caller wraps: as lm-eval has it, continuations then begin without the delimiter and a description is a system message
  int64_t context_chars = 0;     // LongBench: cut the context to its first and last half of so many characters (MHA2MLA: 8 per token)
};

// Every kind but needle (eval/needle.h). Throws CheckpointError for files and rows, ConfigError for options that do not fit.
TaskItems build_items(const TaskSpec& spec, const std::filesystem::path& root, const ItemOptions& options = {});

// Bytes that identify an item's text: tests and stored rows hash them. Parts are separated by U+001F, requests by U+001E.
std::string item_text(const ChoiceItem& item);

}  // namespace mla
