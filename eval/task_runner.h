// Runs a task's items through one model, or through an original and a converted one beside it, and hands the answers over batch by
// batch. Metrics are made of the answers alone, so that a run taken up again gives what an uninterrupted one gives.
#pragma once
#include <string>
#include <vector>

#include "core/base/metric.h"
#include "core/tokenizer/chat_template.h"
#include "eval/batch_generation.h"
#include "eval/continuations.h"
#include "eval/jieba/jieba.h"
#include "eval/perplexity.h"
#include "eval/task_items.h"

namespace mla {

struct TaskRunOptions {
  int64_t max_length = 0;  // tokens that the model may read, > 0
  int64_t batch = 0;       // items at a time; 0: by tokens for choices, 8 for generation
  std::string truncate = "longbench";  // how a long prompt of generation is cut: longbench (its text), tokens (MHA2MLA)
  bool rouge_compat = false;
  const Jieba* jieba = nullptr;  // for tasks whose scorer wants it
  std::string chat;  // name of the chat template around every item; empty: none. wrap_items() has put it there, but for LongBench
  bool answer_kld = false;  // of generation: the task's own answers are read after the prompt too, for their divergence (choices always are)
  CacheFormat cache;  // of generation; choices are read in one forward, which no cache touches
  DecodePath decode = DecodePath::automatic;  // of generation
  Division* division = nullptr;  // batches are divided over processes; only the first has rows for the sink
};

// Metric of a generation: bytes of the cache at the answer's end per token in it, all layers, scales included.
inline constexpr const char* kCacheBytes = "cache_bytes_per_token";

struct TaskInputs {
  const TaskSpec& spec;
  const TaskItems& items;
  const Tokenizer& tokenizer;
};

// Items that `have` (rows of this task) answers for every stage already are left out; the others come in the batches that they would
// have come in. The first stage is the reference of divergences. Throws as score_continuations and generate_batches do.
void answer_task(const TaskInputs& inputs, const std::vector<StageModel>& stages, const TaskRunOptions& options,
                 const std::vector<AnswerRow>& have, AnswerSink& sink);

// The task's metrics per stage, and for stages beside a reference token_statistics() over all tokens of the right answers. With lm-evaluation-harness's standard error (sample deviation / sqrt(n)); LongBench's averages as its
// eval.py rounds them. `rows` are all of one task. Throws ConfigError when a stage lacks an item.
std::vector<Metric> task_metrics(const TaskSpec& spec, std::size_t items, const std::vector<AnswerRow>& rows, const std::string& protocol);

// What generated the answers, by stage, of the answers alone: {"mla": {"way": "libtorch", "reason": "layer 0 has experts"}}; "engine, libtorch" where a
// run was taken up in the other way. Null where nothing was generated.
Json task_decoding(const std::vector<AnswerRow>& rows);

// Each item's text as the one message of a user, its description as the system message, rendered with the template, as
// lm-evaluation-harness does (--apply_chat_template, few-shots in one turn). LongBench's prompts are left as they are: they are cut first
// and wrapped by answer_task. Throws as render_chat does.
void wrap_items(const TaskSpec& spec, const std::string& chat, const Tokenizer& tokenizer, TaskItems& items);

// lm-evaluation-harness's pair: blanks at the context's end go to the continuation, both are tokenised together and the context's
// number of tokens is cut off; an empty context is the BOS, else the EOS token. The tokenizer puts its own special tokens around; those in
// the text are read as such where it is a `chat`. Throws ConfigError when there is neither.
TokenRequest encode_request(const Tokenizer& tokenizer, std::string context, std::string continuation, bool chat = false);

}  // namespace mla
