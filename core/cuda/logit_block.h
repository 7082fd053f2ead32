// Token scores over blocks of the vocabulary (core/cuda/token_scores.h), the device's side: joins one block of logits to what is known of
// each token, so that no [tokens, vocabulary] tensor exists and nothing returns to the host between blocks.
#pragma once
#include "core/cuda/numbers.h"

namespace mla::gpu {

// Of one token and stage after some blocks. A fresh one: kFreshScore.
struct RunningScore {
  double sum;       // sum exp(l - maximum)
  double cross;     // sum exp(p - p's maximum) (p - l), of stages after the first
  double target;    // logit of the target
  int64_t top;      // most likely token; of equals the first
  float maximum;
  float unused;
};
constexpr float kNoMaximum = -3.402823466e+38f;  // below every logit that counts; exp(kNoMaximum - l) is 0
constexpr RunningScore kFreshScore{0, 0, 0, -1, kNoMaximum, 0};

constexpr int kMaxStagesOfScores = 8;

struct LogitBlockArgs {
  Type type = Type::fp32;                         // of the logits
  int32_t stages = 1;                             // S; stage 0 is the reference p
  int64_t tokens = 0, width = 0;                  // N; of this block
  int64_t first = 0;                              // vocabulary entry of its first column
  const void* logits[kMaxStagesOfScores] = {};    // [N,width], rows row_stride apart
  int64_t row_stride = 0;
  float softcap[kMaxStagesOfScores] = {};         // cap * tanh(l / cap); 0: none
  const int64_t* targets = nullptr;               // [N]
  RunningScore* running = nullptr;                // [S,N]
};

void check_logit_block(const LogitBlockArgs& args);  // throws ShapeError

// What the scores of core/cuda/token_scores.h are of a token's running scores.
double nll_nats(const RunningScore& stage);
double kld_nats(const RunningScore& reference, const RunningScore& stage);

namespace reference {
void logit_block(const LogitBlockArgs& args);  // fp64
}

}  // namespace mla::gpu
