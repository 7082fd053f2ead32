// Figures are named queries drawn by gnuplot.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "results/query.h"
#include "results/store.h"

namespace mla {

// Writes <name>.dat, .gp, .png, .svg and .pdf into out_dir (created) and returns their paths in that order. The same store gives
// the same bytes of .dat, .gp and .svg. Throws ConfigError (unknown figure, nothing to plot) or ResourceError (no gnuplot,
// unwritable folder, gnuplot failed). Where gnuplot is absent the .dat and .gp are still written.
std::vector<std::filesystem::path> write_figure(const Store& store, std::string_view name,
                                                const std::filesystem::path& out_dir, const QueryParams& params = {});

std::vector<std::string> figure_names();

}  // namespace mla
