// token_scores() on a card: a GEMM per stage and block of the vocabulary, joined there by the module's logit_block.
#include "core/base/error.h"
#include "core/cuda/plug.h"
#include "core/cuda/token_scores.h"
#include "core/cuda/torch_values.h"

namespace mla {
namespace {

constexpr int64_t kRows = 2048;     // tokens per block
constexpr int64_t kVocab = 16384;   // vocabulary per block: 64 MB of bf16 logits for all rows

// Scores of stage s of S, token start + row of N, from the running scores [S,rows] of some rows.
void write_scores(const gpu::RunningScore* running, int64_t rows, int64_t start, TokenScores& out) {
  const int64_t stages = out.nll_nats.size(0), tokens = out.nll_nats.size(1);
  for (int64_t s = 0; s < stages; ++s)
    for (int64_t row = 0; row < rows; ++row) {
      const gpu::RunningScore &p = running[row], &now = running[s * rows + row];
      const int64_t at = s * tokens + start + row;
      out.nll_nats.data_ptr<double>()[at] = gpu::nll_nats(now);
      if (s > 0) out.kld_nats.data_ptr<double>()[at] = gpu::kld_nats(p, now);
      out.top.data_ptr<int64_t>()[at] = now.top;
      out.same_top.data_ptr<bool>()[at] = now.top == p.top;
    }
}

}  // namespace

TokenScores token_scores_with(const gpu::Operators& operators, const std::vector<StageHidden>& stages, const at::Tensor& targets) {
  check_token_scores(stages, targets);
  const at::Device device = stages[0].hidden.device();
  const gpu::Type type = type_of(stages[0].hidden.scalar_type());
  for (const StageHidden& stage : stages)
    if (stage.hidden.device() != device || stage.head.device() != device || stage.hidden.scalar_type() != stages[0].hidden.scalar_type() || stage.head.scalar_type() != stage.hidden.scalar_type())
      fail<ShapeError>("token_scores", "wanted hidden states and heads of one dtype on ", device.str(), ", got ", stage.hidden.toString(), " on ", stage.hidden.device().str(), " and ",
                       stage.head.toString(), " on ", stage.head.device().str());
  const auto count = static_cast<int64_t>(stages.size()), tokens = targets.numel(), vocabulary = stages[0].head.size(0);
  TokenScores out{at::zeros({count, tokens}, at::kDouble), at::zeros({count, tokens}, at::kDouble), at::zeros({count, tokens}, at::kBool), at::zeros({count, tokens}, at::kLong)};
  const at::Tensor target_ids = targets.to(device, at::kLong).contiguous();
  for (int64_t start = 0; start < tokens; start += kRows) {
    const int64_t rows = std::min(kRows, tokens - start);
    std::vector<gpu::RunningScore> running(static_cast<std::size_t>(count * rows), gpu::kFreshScore);
    at::Tensor kept = at::from_blob(running.data(), {static_cast<int64_t>(running.size() * sizeof(gpu::RunningScore))}, at::kByte).to(device, at::kByte, false, true);
    for (int64_t first = 0; first < vocabulary; first += kVocab) {
      const int64_t width = std::min(kVocab, vocabulary - first);
      gpu::LogitBlockArgs args{type, static_cast<int32_t>(count), rows, width, first, {}, width, {}, target_ids.const_data_ptr<int64_t>() + start,
                               reinterpret_cast<gpu::RunningScore*>(kept.data_ptr<uint8_t>())};
      std::vector<at::Tensor> blocks;
      for (std::size_t s = 0; s < stages.size(); ++s) {
        blocks.push_back(at::mm(stages[s].hidden.narrow(0, start, rows), stages[s].head.narrow(0, first, width).t()).contiguous());
        if (s < gpu::kMaxStagesOfScores) args.logits[s] = blocks[s].const_data_ptr(), args.softcap[s] = static_cast<float>(stages[s].softcap);
      }
      operators.logit_block(args, stream_of(device));
    }
    const at::Tensor back = kept.cpu();
    write_scores(reinterpret_cast<const gpu::RunningScore*>(back.const_data_ptr<uint8_t>()), rows, start, out);
  }
  return out;
}

}  // namespace mla
