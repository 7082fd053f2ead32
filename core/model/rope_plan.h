// The rotary frequencies that a configuration asks for; formulas of transformers' modeling_rope_utils.py in fp64.
#pragma once
#include "core/checkpoint/model_config.h"
#include "core/model/rope.h"

namespace mla {

// One rope head of `dims` dims: head_dim for the model's own heads. Where a model rotates only the first rotary_dim dims of a head, the
// pairs of the others have frequency 0 and stand last; rows of q and k are then read in rotary_order().
// Throws ConfigError for another width where frequencies are given one by one (longrope) or rotation is partial.
RopePlan rope_plan(const ModelConfig& config, int64_t dims);

// Rows of one head so that pair i is (i, i + head_dim/2): the rotated dims' pairs, then pairs of the others.  [head_dim] int64
at::Tensor rotary_order(int64_t head_dim, int64_t rotated);

}  // namespace mla
