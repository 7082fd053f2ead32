// The options by which any recipe divides its ranks over the layers. A recipe reads them beside its own, applies them once its
// uniform rank is known, and lists their help.
#pragma once
#include "core/base/option_reader.h"
#include "methods/parts.h"

namespace mla {

struct RankOptions {
  std::string allocator = "uniform";  // uniform, energy, care, care_code, fisher, waterfill
  int64_t multiple = 1;
  std::optional<int64_t> min, max;
  bool pad = false;
  std::optional<double> energy_ratio;
};

// Takes allocator, rank_multiple, min_rank, max_rank, pad_ranks and energy_ratio from the reader. `usual` is the source's allocator.
RankOptions read_rank_options(OptionReader& read, const std::string& usual = "uniform");

// Sets recipe.allocator for a mean of `rank` per compressed part, and adds to recipe.options and recipe.label what differs from
// the uniform rank, so that the rows of recipes without these options keep their names. `option` names the rank in errors;
// `cut`: the rank follows from --cache-values, so that a part which admits less gets what it admits.
void apply_rank_options(const RankOptions& options, int64_t rank, const std::string& option, Recipe& recipe, bool cut = false);

// The recipe's own help, then that of these options.
std::vector<OptionHelp> with_rank_options(std::vector<OptionHelp> own, const char* usual = "uniform");

}  // namespace mla
