// Needle in a haystack: one sentence with a number in it, hidden at a given depth of a text of a given length.
#pragma once
#include "core/tokenizer/tokenizer.h"
#include "eval/task_items.h"

namespace mla {

// One item per length and depth, lengths outermost; id "LENGTH@DEPTH". The haystack is any text file (the task's data file). City,
// number and the place in the haystack where a context begins are drawn from Python's Random(seed) in that order; a haystack shorter
// than the context is read again from its start. A needle goes behind the last full stop or line break before its depth, at depth 0
// and 1 to the very ends. The prompt has about LENGTH tokens: it is cut before the needle is put in, and tokens may join at the seams.
TaskItems needle_items(const TaskSpec& spec, const std::filesystem::path& root, const Tokenizer& tokenizer);

}  // namespace mla
