// The statistics of one stage against the original, laid out as llama-perplexity --kl-divergence prints them, so that what reads its
// output reads ours.
#pragma once
#include <string>
#include <vector>

#include "core/base/metric.h"

namespace mla {

// Throws ConfigError where `metrics` (of one run) hold no divergence of `stage`. Lines whose metric is missing are left out.
std::string write_kld_block(const std::vector<Metric>& metrics, const std::string& stage);

// Whether the block has a line for the metric.
bool in_kld_block(const std::string& metric);

}  // namespace mla
