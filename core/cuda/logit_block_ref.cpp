#include <cmath>
#include <vector>

#include "core/base/error.h"
#include "core/cuda/logit_block.h"
#include "core/cuda/typed_values.h"

namespace mla::gpu {

void check_logit_block(const LogitBlockArgs& a) {
  if (a.stages < 1 || a.stages > kMaxStagesOfScores) fail<ShapeError>("logit_block", "wanted 1 to ", kMaxStagesOfScores, " stages, got ", a.stages);
  if (a.tokens < 0 || a.tokens > 2147483647 || a.width < 0 || a.width >= 1 << 24 || a.row_stride < a.width)
    fail<ShapeError>("logit_block", "wanted [N,width] of fewer than 2^24 columns, rows at least as far apart, got [", a.tokens, ",", a.width, "], ", a.row_stride, " apart");
  if (a.tokens == 0) return;
  if (a.targets == nullptr || a.running == nullptr) fail<ShapeError>("logit_block", "wanted targets and running scores, got a null pointer");
  for (int s = 0; s < a.stages; ++s)
    if (a.logits[s] == nullptr) fail<ShapeError>("logit_block", "wanted logits of ", a.stages, " stages, got a null pointer for stage ", s);
}

double nll_nats(const RunningScore& stage) { return stage.maximum + std::log(stage.sum) - stage.target; }
double kld_nats(const RunningScore& p, const RunningScore& stage) {
  return stage.cross / p.sum - (p.maximum + std::log(p.sum)) + (stage.maximum + std::log(stage.sum));
}

void reference::logit_block(const LogitBlockArgs& a) {
  for (int64_t token = 0; token < a.tokens && a.width > 0; ++token) {
    double p_shrink = 1;
    std::vector<double> p;
    for (int s = 0; s < a.stages; ++s) {
      RunningScore& now = a.running[s * a.tokens + token];
      std::vector<double> l;
      int64_t best = 0;
      for (int64_t v = 0; v < a.width; ++v) {
        const double x = value_at(a.type, a.logits[s], token * a.row_stride + v), cap = a.softcap[s];
        l.push_back(cap > 0 ? cap * std::tanh(x / cap) : x);
        if (l[static_cast<std::size_t>(v)] > l[static_cast<std::size_t>(best)]) best = v;
      }
      if (s == 0) p = l;
      double shrink = 1;
      if (const auto largest = static_cast<float>(l[static_cast<std::size_t>(best)]); largest > now.maximum) {
        shrink = std::exp(static_cast<double>(now.maximum) - largest);
        now.maximum = largest;
        now.top = a.first + best;
      }
      if (s == 0) p_shrink = shrink;
      now.sum *= shrink;
      now.cross *= p_shrink;
      for (int64_t v = 0; v < a.width; ++v) {
        const auto i = static_cast<std::size_t>(v);
        now.sum += std::exp(l[i] - now.maximum);
        if (s > 0) now.cross += std::exp(p[i] - a.running[token].maximum) * (p[i] - l[i]);
      }
      const int64_t target = a.targets[token] - a.first;
      if (target >= 0 && target < a.width) now.target = l[static_cast<std::size_t>(target)];
    }
  }
}

}  // namespace mla::gpu
