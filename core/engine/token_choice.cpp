#include "core/engine/token_choice.h"

#include <cstddef>
#include <limits>

#include "core/base/error.h"

namespace mla {
namespace {

// RunningScore as five columns of 8 bytes.
constexpr int64_t kColumns = 5, kSumColumn = 0, kTopColumn = 3;
static_assert(sizeof(gpu::RunningScore) == 8 * kColumns && offsetof(gpu::RunningScore, sum) == 8 * kSumColumn && offsetof(gpu::RunningScore, top) == 8 * kTopColumn);

}  // namespace

TokenChoice::TokenChoice(const Decoder& decoder, const EngineMachine& machine, int64_t room, StepBuffers& buffers, int64_t batch) : decoder_(decoder), machine_(machine) {
  const at::TensorOptions longs = buffers.options().dtype(at::kLong);
  position_ = at::zeros({batch, 1}, longs);
  given_ = at::zeros({batch, 1}, longs);
  tokens_ = at::zeros({batch, room + 1}, longs);
  fed_ = at::zeros({batch}, longs);
  kept_ = at::zeros({batch, 1}, longs);
  chosen_ = at::zeros({batch, 1}, longs);
  is_given_ = at::zeros({batch, 1}, longs.dtype(at::kBool));
  logits_ = buffers.get("logits", {batch, decoder.head.size(0)});
  std::vector<gpu::RunningScore> fresh(static_cast<std::size_t>(batch), gpu::kFreshScore);
  fresh_ = at::from_blob(fresh.data(), {batch, kColumns}, at::kLong).to(longs.device(), at::kLong, false, true);
  running_ = fresh_.clone();
  targets_ = at::zeros({batch}, longs);
  sums_ = at::zeros({batch}, longs.dtype(at::kDouble));
}

void TokenChoice::give(int64_t first, int64_t start, const at::Tensor& tokens) {
  const int64_t sequences = tokens.size(0), count = tokens.size(1);
  if (count < 1 || start + count > tokens_.size(1)) fail<ShapeError>("engine", "wanted 1 to ", tokens_.size(1) - start, " tokens behind ", start, ", got ", count);
  tokens_.narrow(0, first, sequences).narrow(1, start, count).copy_(tokens);
  position_.narrow(0, first, sequences).fill_(start);
  given_.narrow(0, first, sequences).fill_(start + count - 1);
}

void TokenChoice::forbid(int64_t sequence, const std::vector<int32_t>& ids, int64_t before) {
  if (!forbidden_.defined()) {
    forbidden_ = at::zeros(logits_.sizes(), is_given_.options());
    hidden_ = at::zeros_like(forbidden_);
    before_ = at::zeros_like(position_);
  }
  for (const int32_t id : ids) forbidden_[sequence][id] = true;
  before_[sequence][0] = before;
}

const at::Tensor& TokenChoice::fed() {
  at::Tensor column = fed_.unsqueeze(1);
  at::gather_out(column, tokens_, 1, position_);
  return fed_;
}

void TokenChoice::choose(const at::Tensor& normed) {
  project_into(logits_, normed, decoder_.head, {});
  position_.add_(1);
  if (forbidden_.defined()) {
    at::lt_out(is_given_, position_, before_);
    at::logical_and_out(hidden_, forbidden_, is_given_);
    logits_.masked_fill_(hidden_, -std::numeric_limits<float>::infinity());
  }
  running_.copy_(fresh_);
  gpu::LogitBlockArgs args{.type = type_of(logits_.scalar_type()), .tokens = logits_.size(0), .width = logits_.size(1), .row_stride = logits_.size(1), .targets = targets_.const_data_ptr<int64_t>(),
                           .running = static_cast<gpu::RunningScore*>(running_.data_ptr())};
  args.logits[0] = logits_.const_data_ptr();
  machine_.operators.logit_block(args, stream_of(logits_.device()));
  sums_.add_(running_.view(at::kDouble).select(1, kSumColumn));
  at::clamp_min_out(chosen_, running_.narrow(1, kTopColumn, 1), 0);  // -1 where all are NaN, which require_finite() tells later
  at::gather_out(kept_, tokens_, 1, position_);
  at::le_out(is_given_, position_, given_);
  at::where_out(chosen_, is_given_, kept_, chosen_);
  tokens_.scatter_(1, position_, chosen_);
}

void TokenChoice::require_finite() const { mla::require_finite(sums_, "in the logits of a decode step"); }

}  // namespace mla
