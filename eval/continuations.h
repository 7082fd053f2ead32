// Log-likelihoods of continuations, as multiple-choice tasks ask for them. What requests have in common is computed once: the
// beginning shared by an item's requests, and the beginning shared by all items (few-shot examples). Nothing is padded.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "core/base/division.h"
#include "eval/language_model.h"

namespace mla {

struct TokenRequest {
  std::vector<int32_t> context;       // at least one token
  std::vector<int32_t> continuation;  // at least one token
};
using RequestItem = std::vector<TokenRequest>;  // an item's choices

// One predicted token of a continuation.
struct TokenScore {
  double nll = 0;       // nats
  double kld = 0;       // KL(reference || model) at its position, nats; 0 for the reference
  bool same_top = true;  // the most likely token is the reference's
};

// Of one continuation under one model.
struct ContinuationScore {
  double log_likelihood = 0;  // nats, summed over its tokens in fp64
  bool greedy = true;         // every token is the most likely one
  int64_t tokens = 0;
  double divergence = 0;      // mean KL(reference || model) over the positions that predict its tokens; 0 for the reference
  std::vector<TokenScore> each;  // `tokens` of them
};
using ItemScores = std::vector<std::vector<ContinuationScore>>;  // [stage][request]

struct ContinuationOptions {
  int64_t max_length = 0;      // tokens a model may read at once, > 0; longer requests lose their first tokens (lm-eval's rule)
  int64_t batch_items = 0;     // items in one row; 0: as many as fit into `batch_tokens`
  int64_t batch_tokens = 2048;
  std::size_t start = 0;  // items before it are done already; the batches are cut as if they were not
  Division* division = nullptr;  // batches are divided over processes; only the first is called back
};

// models[0] is the reference of divergences. `done(first, scores)` is called for each batch, in the order of the items; batches depend
// on the items alone, so that a run taken up again gives the same bits; one that memory has no room for is read in halves. Throws ConfigError for an empty context or continuation, NumericalError naming the item, Interrupted.
void score_continuations(const std::vector<LanguageModel*>& models, const std::vector<RequestItem>& items, const ContinuationOptions& options,
                         const std::function<void(std::size_t first, const std::vector<ItemScores>& scores)>& done);

}  // namespace mla
