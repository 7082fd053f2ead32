// How a model's predictions differ from a reference's, token by token: the statistics that llama-perplexity --kl-divergence prints.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/base/metric.h"

namespace mla {

// One entry per predicted token, in any order; nll in nats of the token that stands there.
struct TokenPairs {
  std::vector<double> nll, reference_nll;
  std::vector<double> kld;       // KL(reference || model), nats, over the whole vocabulary
  std::vector<double> same_top;  // 1 where both find the same token most likely, else 0
  std::size_t size() const { return nll.size(); }
};

struct Statistic {
  std::string name;  // as the store has it
  double value = 0;
  std::optional<double> std_error;
  const char* unit = "1";
  Better better = Better::neither;
};

// In llama-perplexity's order: ppl_q, ppl_base, ln_ppl_correlation, ln_ppl_ratio, ppl_quotient, ppl_difference; kld_*; dp_* (of the
// probability of the token that stands there, model less reference); same_top_share. Standard errors are over tokens, those of the
// perplexities from logarithms to first order, paired where both models take part. Quantiles interpolate between order statistics. The
// correlation is left out where one of the models has no spread. Unlike llama-perplexity, whose reference is stored in 16 bits and cut
// at probabilities below e^-16, all of it is kept. Throws ConfigError without a token.
std::vector<Statistic> token_statistics(const TokenPairs& pairs);

// Throws ConfigError when there is no such one.
const Statistic& find_statistic(const std::vector<Statistic>& statistics, const std::string& name);

}  // namespace mla
