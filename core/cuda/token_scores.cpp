// A GEMM per stage and block of the vocabulary, then one pass over each row of the block: on the CPU by the loops below, on a card by the
// CUDA module (token_scores_card.cpp); without the module a card's blocks come to the CPU.
#include "core/cuda/token_scores.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <limits>
#include <optional>

#include "core/base/error.h"
#include "core/cuda/plug.h"
#include "core/tensor/loops.h"
#include "core/tensor/products.h"

namespace mla {
namespace {

constexpr int64_t kRows = 256;     // tokens per block
constexpr int64_t kVocab = 4096;   // vocabulary per block: 4 MB of fp32 logits, which stay in cache

MLA_CLONES float row_maximum(const float* row, int64_t n) {
  constexpr int kLanes = 64;
  float lanes[kLanes];
  for (float& lane : lanes) lane = -std::numeric_limits<float>::infinity();
  int64_t v = 0;
  for (; v + kLanes <= n; v += kLanes)
    for (int l = 0; l < kLanes; ++l) lanes[l] = row[v + l] > lanes[l] ? row[v + l] : lanes[l];
  float largest = lanes[0];
  for (float lane : lanes) largest = lane > largest ? lane : largest;
  for (; v < n; ++v) largest = row[v] > largest ? row[v] : largest;
  return largest;
}

// sum_v exp(row[v] - largest)
MLA_CLONES double row_exp_sum(const float* row, int64_t n, float largest) {
  constexpr int kLanes = 64;
  float lanes[kLanes] = {};
  int64_t v = 0;
  for (; v + kLanes <= n; v += kLanes)
    for (int l = 0; l < kLanes; ++l) lanes[l] += exp_nonpositive(row[v + l] - largest);
  double sum = 0;
  for (float lane : lanes) sum += lane;
  for (; v < n; ++v) sum += exp_nonpositive(row[v] - largest);
  return sum;
}

// sum_v exp(p[v] - largest) * (p[v] - q[v])
MLA_CLONES double row_cross_sum(const float* p, const float* q, int64_t n, float largest) {
  constexpr int kLanes = 64;
  float lanes[kLanes] = {};
  int64_t v = 0;
  for (; v + kLanes <= n; v += kLanes)
    for (int l = 0; l < kLanes; ++l) lanes[l] += exp_nonpositive(p[v + l] - largest) * (p[v + l] - q[v + l]);
  double sum = 0;
  for (float lane : lanes) sum += lane;
  for (; v < n; ++v) sum += static_cast<double>(exp_nonpositive(p[v] - largest)) * (p[v] - q[v]);
  return sum;
}

// What is known of one token and stage after some blocks of the vocabulary.
struct Running {
  float maximum = -std::numeric_limits<float>::infinity();
  int64_t top = -1;
  double sum = 0;    // sum exp(l - maximum)
  double cross = 0;  // sum exp(p - p's maximum) (p - l), kept for stages after the first
  double target = 0;
};

void join_block(const std::vector<at::Tensor>& blocks, int64_t row, int64_t first, int64_t width, int64_t target,
                Running* running) {
  const float* p = blocks[0].const_data_ptr<float>() + row * width;
  for (std::size_t s = 0; s < blocks.size(); ++s) {
    const float* l = blocks[s].const_data_ptr<float>() + row * width;
    Running& now = running[s];
    const float block_maximum = row_maximum(l, width);
    if (block_maximum > now.maximum) {
      const double shrink = std::exp(static_cast<double>(now.maximum) - block_maximum);
      now.sum *= shrink;
      if (s == 0)
        for (std::size_t q = 1; q < blocks.size(); ++q) running[q].cross *= shrink;
      now.maximum = block_maximum;
      for (int64_t v = 0; v < width; ++v)
        if (l[v] == block_maximum) {
          now.top = first + v;
          break;
        }
    }
    now.sum += row_exp_sum(l, width, now.maximum);
    if (target >= first && target < first + width) now.target = l[target - first];
    if (s > 0) now.cross += row_cross_sum(p, l, width, running[0].maximum);
  }
}

// The card's operators for these tensors; null where the CPU's loops are due.
const gpu::Operators* operators_for(const std::vector<StageHidden>& stages) {
  const at::ScalarType dtype = stages[0].hidden.scalar_type();
  if (!stages[0].hidden.is_cuda() || stages.size() > gpu::kMaxStagesOfScores) return nullptr;
  if (dtype != at::kFloat && dtype != at::kHalf && dtype != at::kBFloat16) return nullptr;
  static const std::optional<gpu::Operators> found = []() -> std::optional<gpu::Operators> {
    try {
      return gpu::Operators(gpu::open_module());
    } catch (const CudaError&) {
      return std::nullopt;  // not built: the blocks come to the host
    }
  }();
  return found ? &*found : nullptr;
}

}  // namespace

void check_token_scores(const std::vector<StageHidden>& stages, const at::Tensor& targets) {
  if (stages.empty()) fail<ShapeError>("token_scores", "wanted at least one stage, got none");
  for (const StageHidden& stage : stages)
    if (stage.hidden.dim() != 2 || stage.head.dim() != 2 || stage.hidden.size(1) != stage.head.size(1) ||
        stage.hidden.size(0) != targets.numel() || stage.head.size(0) != stages[0].head.size(0))
      fail<ShapeError>("token_scores", "wanted hidden [", targets.numel(), ",D] and head [", stages[0].head.size(0),
                       ",D], got ", stage.hidden.sizes(), " and ", stage.head.sizes());
}

TokenScores token_scores(const std::vector<StageHidden>& stages, const at::Tensor& targets) {
  check_token_scores(stages, targets);
  if (const gpu::Operators* operators = operators_for(stages)) return token_scores_with(*operators, stages, targets);
  const int64_t tokens = targets.numel(), vocabulary = stages[0].head.size(0);
  const auto count = static_cast<int64_t>(stages.size());
  TokenScores out{at::zeros({count, tokens}, at::kDouble), at::zeros({count, tokens}, at::kDouble),
                  at::zeros({count, tokens}, at::kBool), at::zeros({count, tokens}, at::kLong)};
  const at::Tensor target_ids = targets.to(at::kCPU, at::kLong).contiguous();
  const int64_t* target = target_ids.const_data_ptr<int64_t>();
  std::vector<Running> running(static_cast<std::size_t>(kRows * count));

  for (int64_t start = 0; start < tokens; start += kRows) {
    const int64_t rows = std::min(kRows, tokens - start);
    std::fill(running.begin(), running.end(), Running{});
    for (int64_t first = 0; first < vocabulary; first += kVocab) {
      const int64_t width = std::min(kVocab, vocabulary - first);
      std::vector<at::Tensor> blocks;
      for (const StageHidden& stage : stages) {
        blocks.push_back(project(stage.hidden.narrow(0, start, rows), stage.head.narrow(0, first, width))
                             .to(at::kCPU, at::kFloat)
                             .contiguous());
        if (stage.softcap > 0) blocks.back() = at::tanh(blocks.back() / stage.softcap) * stage.softcap;
      }
      at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row)
          join_block(blocks, row, first, width, target[start + row], &running[static_cast<std::size_t>(row * count)]);
      });
    }
    for (int64_t row = 0; row < rows; ++row) {
      const Running* now = &running[static_cast<std::size_t>(row * count)];
      const double log_z_p = now[0].maximum + std::log(now[0].sum);
      for (int64_t s = 0; s < count; ++s) {
        const double log_z = now[s].maximum + std::log(now[s].sum);
        out.nll_nats.data_ptr<double>()[s * tokens + start + row] = log_z - now[s].target;
        out.same_top.data_ptr<bool>()[s * tokens + start + row] = now[s].top == now[0].top;
        out.top.data_ptr<int64_t>()[s * tokens + start + row] = now[s].top;
        if (s > 0) out.kld_nats.data_ptr<double>()[s * tokens + start + row] = now[s].cross / now[0].sum - log_z_p + log_z;
      }
    }
  }
  return out;
}

}  // namespace mla
