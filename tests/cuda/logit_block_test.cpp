#include "core/cuda/logit_block.h"

#include "core/cuda/typed_values.h"
#include "tests/cuda/backends.h"

using namespace mla;
using namespace mla::gpu;
using mla::test::Bytes;
using mla::test::OnCard;

namespace {

struct ScoreCase {
  Type type;
  int64_t tokens, vocabulary, block;
  int stages;
  float softcap;
};

// [V] logits of each stage and token, softcapped, in fp64.
std::vector<double> row_of(const ScoreCase& c, const Bytes& logits, int64_t token) {
  std::vector<double> row;
  for (int64_t v = 0; v < c.vocabulary; ++v) {
    const double l = value_at(c.type, logits.data(), token * c.vocabulary + v);
    row.push_back(c.softcap > 0 ? c.softcap * std::tanh(l / c.softcap) : l);
  }
  return row;
}
double log_sum(const std::vector<double>& row) {
  const double largest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (double l : row) sum += std::exp(l - largest);
  return largest + std::log(sum);
}

constexpr double kNatsError = 2e-6;  // of sums of fp32 exponentials, relative to 1 nat and more

void check_case(const Operators* operators, const ScoreCase& c) {
  INFO("dtype " << static_cast<int>(c.type) << ", " << c.tokens << " tokens, vocabulary " << c.vocabulary << " in blocks of " << c.block << ", " << c.stages << " stages");
  test::Draw draw(7);
  std::vector<Bytes> logits(static_cast<std::size_t>(c.stages), Bytes(static_cast<std::size_t>(c.tokens * c.vocabulary * bytes_of(c.type))));
  std::vector<int64_t> targets;
  for (int64_t n = 0; n < c.tokens; ++n) targets.push_back(draw.below(c.vocabulary));
  for (std::size_t s = 0; s < logits.size(); ++s)
    for (int64_t i = 0; i < c.tokens * c.vocabulary; ++i)
      set_value(c.type, logits[s].data(), i, s == 0 ? draw.uniform(-9, 9) : value_at(c.type, logits[0].data(), i) + draw.uniform(-0.5, 0.5));
  std::vector<RunningScore> running(static_cast<std::size_t>(c.stages * c.tokens), kFreshScore);

  const auto blocks = [&](const auto& call, const std::vector<const unsigned char*>& data, const int64_t* target, RunningScore* scores) {
    for (int64_t first = 0; first < c.vocabulary; first += c.block) {
      LogitBlockArgs a{c.type, c.stages, c.tokens, std::min(c.block, c.vocabulary - first), first, {}, c.vocabulary, {}, target, scores};
      for (int s = 0; s < c.stages; ++s) a.logits[s] = data[static_cast<std::size_t>(s)] + first * bytes_of(c.type), a.softcap[s] = c.softcap;
      call(a);
    }
  };
  std::vector<const unsigned char*> data;
  if (operators != nullptr) {
    std::vector<OnCard<unsigned char>> card;
    for (const Bytes& bytes : logits) card.emplace_back(*operators, bytes);
    for (const auto& each : card) data.push_back(each.data());
    const OnCard<int64_t> card_targets(*operators, targets);
    const OnCard<RunningScore> card_running(*operators, running);
    blocks([&](const LogitBlockArgs& a) { operators->logit_block(a, nullptr); }, data, card_targets.data(), card_running.data());
    operators->synchronize();
    running = card_running.read();
  } else {
    for (const Bytes& bytes : logits) data.push_back(bytes.data());
    blocks(reference::logit_block, data, targets.data(), running.data());
  }

  for (int64_t n = 0; n < c.tokens; ++n) {
    const std::vector<double> p = row_of(c, logits[0], n);
    for (int s = 0; s < c.stages; ++s) {
      const std::vector<double> l = row_of(c, logits[static_cast<std::size_t>(s)], n);
      const RunningScore& got = running[static_cast<std::size_t>(s * c.tokens + n)];
      double kld = 0;
      for (std::size_t v = 0; v < l.size(); ++v) kld += std::exp(p[v] - log_sum(p)) * (p[v] - log_sum(p) - l[v] + log_sum(l));
      const double nll = log_sum(l) - l[static_cast<std::size_t>(targets[static_cast<std::size_t>(n)])];
      CHECK(std::abs(nll_nats(got) - nll) < kNatsError * (1 + nll));
      if (s > 0) CHECK(std::abs(kld_nats(running[static_cast<std::size_t>(n)], got) - kld) < kNatsError);
      const double at_top = l[static_cast<std::size_t>(got.top)];
      CHECK(at_top >= *std::max_element(l.begin(), l.end()) - 1e-6);
    }
  }
}

void check_all(const Operators* operators) {
  for (const Type type : {Type::fp32, Type::fp16, Type::bf16}) {
    check_case(operators, {type, 3, 700, 256, 2, 0});
    check_case(operators, {type, 2, 301, 301, 3, 5});
    check_case(operators, {type, 1, 9, 1, 1, 0});
    check_case(operators, {type, 0, 9, 4, 1, 0});
  }
}

}  // namespace

TEST_CASE("logits joined block by block score tokens as all logits at once do: the reference", "[cuda][logit_block]") { check_all(nullptr); }
TEST_CASE("logits joined block by block score tokens as all logits at once do, emulated", "[cuda][logit_block]") { check_all(&test::emulated()); }
TEST_CASE("logits joined block by block score tokens as all logits at once do, on the card", "[cuda][logit_block][card]") {
  if (test::no_card()) return;
  const Operators operators = test::card_operators();
  check_all(&operators);
  check_case(&operators, {Type::bf16, 20, 50000, 16384, 2, 0});
}

TEST_CASE("of equal logits the first is the most likely token", "[cuda][logit_block]") {
  const std::vector<float> logits{1, 5, 2, 5, 5, 0};
  const OnCard<float> card(test::emulated(), logits);
  const OnCard<int64_t> target(test::emulated(), std::vector<int64_t>{2});
  const OnCard<RunningScore> running(test::emulated(), std::vector<RunningScore>{kFreshScore});
  for (int64_t first : {0, 3}) {
    LogitBlockArgs a{Type::fp32, 1, 1, 3, first, {card.data() + first}, 3, {}, target.data(), running.data()};
    test::emulated().logit_block(a, nullptr);
  }
  CHECK(running.read()[0].top == 1);
  CHECK(running.read()[0].target == 2.0);
}

TEST_CASE("stages and columns beyond what the operator takes are refused", "[cuda][logit_block][errors]") {
  const int64_t target = 0;
  RunningScore running = kFreshScore;
  const float logit = 0;
  LogitBlockArgs good{Type::fp32, 1, 1, 1, 0, {&logit}, 1, {}, &target, &running};
  CHECK_NOTHROW(check_logit_block(good));
  LogitBlockArgs many = good, wide = good, none = good;
  many.stages = 9;
  wide.width = wide.row_stride = 1 << 24;
  none.logits[0] = nullptr;
  CHECK_THROWS_WITH(check_logit_block(many), Catch::Contains("1 to 8 stages, got 9"));
  CHECK_THROWS_AS(check_logit_block(wide), ShapeError);
  CHECK_THROWS_AS(check_logit_block(none), ShapeError);
}
