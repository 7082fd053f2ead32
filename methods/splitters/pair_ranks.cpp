#include "methods/splitters/pair_ranks.h"

#include "core/base/error.h"
#include "methods/splitters/pair_selection.h"

namespace mla {
namespace {

// Ranks 0 .. half-1 of one head, each once.
std::vector<int64_t> ranks_of_head(const Json& row, int64_t half, const std::string& where) {
  const auto size = row.is_array() ? static_cast<int64_t>(row.size()) : 0;
  if (size != half && size != 2 * half) fail<CheckpointError>("mha2mla", where, ": wanted ", half, " or ", 2 * half, " ranks, got ", row.is_array() ? std::to_string(size) : row.dump());
  std::vector<int64_t> ranks;
  std::vector<bool> seen(static_cast<std::size_t>(half), false);
  for (int64_t i = 0; i < half; ++i) {
    const Json& value = row[static_cast<std::size_t>(i)];
    if (!value.is_number_unsigned() || value.get<uint64_t>() >= static_cast<uint64_t>(half) || seen[value.get<std::size_t>()])
      fail<CheckpointError>("mha2mla", where, ": wanted each rank below ", half, " once, got ", value.dump());
    seen[value.get<std::size_t>()] = true;
    ranks.push_back(value.get<int64_t>());
  }
  return ranks;
}

}  // namespace

Json pair_ranks(const CalibrationStats& stats, bool per_query_head) {
  Json all = Json::array();
  for (const LayerStats& layer : stats) {
    PairNorms norms = layer.pairs;
    if (per_query_head) norms.key = norms.key.repeat_interleave(norms.query.size(0) / norms.key.size(0), 0);
    const at::Tensor rank = two_norm_rank(norms), both = at::cat({rank, rank}, 1).contiguous();
    Json heads = Json::array();
    for (const at::Tensor& head : both.unbind()) heads.push_back(std::vector<int64_t>(head.const_data_ptr<int64_t>(), head.const_data_ptr<int64_t>() + head.size(0)));
    all.push_back(std::move(heads));
  }
  return all;
}

std::vector<PairNorms> pair_norms_of_ranks(const Json& ranks, const ModelConfig& model, bool per_query_head, const std::string& path) {
  const int64_t heads = per_query_head ? model.num_heads : model.num_kv_heads, half = model.head_dim / 2;
  const auto require_size = [&](const Json& list, int64_t wanted, const std::string& what) {
    if (!list.is_array() || static_cast<int64_t>(list.size()) != wanted)
      fail<CheckpointError>("mha2mla", path, ": wanted a list of ", wanted, ' ', what, ", got ", list.is_array() ? std::to_string(list.size()) : std::string(list.type_name()));
  };
  require_size(ranks, model.num_layers, "layers");
  std::vector<PairNorms> all;
  for (std::size_t layer = 0; layer < ranks.size(); ++layer) {
    const std::string where = path + ", layer " + std::to_string(layer);
    require_size(ranks[layer], heads, per_query_head ? "query heads in layer " + std::to_string(layer) : "KV heads in layer " + std::to_string(layer));
    std::vector<at::Tensor> keys;
    for (std::size_t g = 0; g < ranks[layer].size(); ++g)
      keys.push_back(half - at::tensor(ranks_of_head(ranks[layer][g], half, where + ", head " + std::to_string(g)), at::kLong).to(at::kDouble));
    all.push_back({at::ones({model.num_heads, half}, at::kDouble), at::stack(keys)});
  }
  return all;
}

}  // namespace mla
