// The statistics of llama-perplexity's KL block, beside numpy's from the same logits (tests/oracle/kld_goldens.py).
#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/python_random.h"
#include "eval/divergence.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

using Logits = std::vector<double>;

std::vector<double> log_softmax(const Logits& logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double l : logits) sum += std::exp(l - largest);
  std::vector<double> out;
  for (const double l : logits) out.push_back(l - largest - std::log(sum));
  return out;
}

std::ptrdiff_t top(const Logits& logits) { return std::max_element(logits.begin(), logits.end()) - logits.begin(); }

// The logits that the oracle drew, token by token.
TokenPairs drawn_pairs(const Json& golden) {
  PythonRandom random(golden.at("seed").get<uint64_t>());
  const auto vocabulary = golden.at("vocabulary").get<std::size_t>();
  const double noise = golden.at("noise");
  TokenPairs pairs;
  for (int64_t t = 0; t < golden.at("tokens").get<int64_t>(); ++t) {
    Logits base(vocabulary), model(vocabulary);
    for (double& l : base) l = 12 * (random.random() - 0.5);
    for (std::size_t v = 0; v < vocabulary; ++v) model[v] = base[v] + noise * (random.random() - 0.5);
    const std::size_t target = random.below(vocabulary);
    const std::vector<double> p = log_softmax(base), q = log_softmax(model);
    double kld = 0;
    for (std::size_t v = 0; v < vocabulary; ++v) kld += std::exp(p[v]) * (p[v] - q[v]);
    pairs.nll.push_back(-q[target]);
    pairs.reference_nll.push_back(-p[target]);
    pairs.kld.push_back(kld);
    pairs.same_top.push_back(top(base) == top(model));
  }
  return pairs;
}

}  // namespace

TEST_CASE("every statistic of the KL block is numpy's", "[eval][golden]") {
  for (const Json& golden : read_json_file(mla::test::golden("kld.json")).at("cases")) {
    const std::vector<Statistic> ours = token_statistics(drawn_pairs(golden));
    CHECK(ours.size() == golden.at("statistics").size());
    for (const auto& [name, wanted] : golden.at("statistics").items()) {
      INFO(name << " of " << golden.at("tokens") << " tokens");
      const Statistic& got = find_statistic(ours, name);
      CHECK(std::abs(got.value - wanted[0].get<double>()) <= 1e-9 * std::max(1.0, std::abs(wanted[0].get<double>())));
      REQUIRE(got.std_error.has_value() == !wanted[1].is_null());
      if (got.std_error) CHECK(std::abs(*got.std_error - wanted[1].get<double>()) <= 1e-9 * std::max(1.0, std::abs(wanted[1].get<double>())));
    }
  }
}

TEST_CASE("equal models have no divergence and no error of it, and one token has no error at all", "[eval]") {
  const TokenPairs equal{{1.0, 2.0, 3.5}, {1.0, 2.0, 3.5}, {0, 0, 0}, {1, 1, 1}};
  const std::vector<Statistic> same = token_statistics(equal);
  CHECK(find_statistic(same, "ln_ppl_ratio").value == 0);
  CHECK(find_statistic(same, "ln_ppl_ratio").std_error == 0.0);  // llama-perplexity prints -nan here
  CHECK(find_statistic(same, "ln_ppl_correlation").value == Approx(1));
  CHECK(find_statistic(same, "dp_rms").value == 0);
  CHECK(find_statistic(same, "dp_rms").std_error == 0.0);

  const std::vector<Statistic> single = token_statistics({{1.0}, {1.5}, {0.25}, {0}});
  CHECK(find_statistic(single, "kld_median").value == 0.25);
  for (const Statistic& statistic : single) CHECK_FALSE(statistic.std_error);
  CHECK_THROWS_AS(find_statistic(single, "ln_ppl_correlation"), ConfigError);
}

TEST_CASE("no token and lists of different length are refused", "[eval][errors]") {
  CHECK_THROWS_AS(token_statistics({}), ConfigError);
  CHECK_THROWS_AS(token_statistics({{1, 2}, {1, 2}, {0}, {1, 1}}), ShapeError);
}
