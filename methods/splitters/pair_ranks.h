// MHA2MLA's file of 2-norm ranks: [layers][heads][h], each pair's rank stored for both of its halves. Heads are KV heads, or query
// heads for gqa2mha2mla.
#pragma once
#include "core/base/json.h"
#include "core/checkpoint/model_config.h"
#include "methods/parts.h"

namespace mla {

Json pair_ranks(const CalibrationStats& stats, bool per_query_head);

// Statistics that give these ranks again, one per layer. [layers][heads][h/2] is read as well. Throws CheckpointError naming `path`.
std::vector<PairNorms> pair_norms_of_ranks(const Json& ranks, const ModelConfig& model, bool per_query_head, const std::string& path);

}  // namespace mla
