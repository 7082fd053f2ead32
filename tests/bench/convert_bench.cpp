// Times the decompositions of convert() without calibration: bench_convert SHAPE METHOD [THREADS] [REPEATS] [OPTIONS as JSON].
// Weights and moments are random; times do not depend on them.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>

#include "core/base/process.h"
#include "methods/convert.h"
#include "tests/support/tiny_model.h"

using namespace mla;

namespace {

const std::map<std::string, test::TinyShape> kShapes{
    {"llama3-8b-layer", {.layers = 1, .heads = 32, .groups = 8, .head_dim = 128, .width = 4096, .inner = 64, .vocab = 64}},
    {"smollm2", {.layers = 30, .heads = 9, .groups = 3, .head_dim = 64, .width = 576, .inner = 64, .vocab = 64}}};

at::Tensor random_moment(int64_t size) {
  const at::Tensor a = at::randn({size, size}, at::detail::createCPUGenerator(5), at::kDouble);
  return a.matmul(a.t()) / static_cast<double>(size) + at::eye(size, at::kDouble);
}

CalibrationStats random_stats(const ModelConfig& c) {
  const int64_t keys = c.num_kv_heads * c.head_dim, tokens = 64;
  LayerStats stats;
  stats.input = {tokens, at::zeros({c.hidden_size}, at::kDouble), random_moment(c.hidden_size)};
  stats.pairs = {at::rand({c.num_heads, c.head_dim / 2}, at::kDouble), at::rand({c.num_kv_heads, c.head_dim / 2}, at::kDouble)};
  stats.gradients = {tokens, random_moment(keys), random_moment(keys), random_moment(c.hidden_size), at::rand({c.num_kv_heads}, at::kDouble),
                     at::rand({c.num_kv_heads}, at::kDouble)};
  stats.rows = {at::randn({1, tokens, c.num_heads, c.head_dim}), at::randn({1, tokens, c.num_kv_heads, c.head_dim})};
  return CalibrationStats(static_cast<std::size_t>(c.num_layers), stats);
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  const auto argument = [&](int i, const char* fallback) { return std::string(argc > i ? argv[i] : fallback); };
  const std::string shape = argument(1, "smollm2"), method = argument(2, "transmla");
  if (kShapes.count(shape) == 0) {
    std::cerr << "wanted llama3-8b-layer or smollm2, got " << shape << '\n';
    return 2;
  }
  at::set_num_threads(std::atoi(argument(3, "2").c_str()));
  const Json options = Json::parse(argument(5, R"({"freqfold": 4, "kv_lora_rank": 256})"));
  const Decoder original = test::tiny_decoder(kShapes.at(shape));
  const Recipe recipe = find_recipe(method).make(options, original.config);
  const CalibrationStats stats = random_stats(original.config);
  const auto collect = [&](const Decoder&, const StatKinds&, const std::string&) { return stats; };
  for (int i = 0; i < std::atoi(argument(4, "3").c_str()); ++i) {
    const Stopwatch watch;
    const Conversion conversion = convert(original, recipe, collect);
    std::printf("%s %s: %.2f s wall, %.2f s CPU, %zu layers, %d threads\n", shape.c_str(), recipe.label.c_str(), watch.seconds(), watch.cpu(),
                conversion.ranks.size(), at::get_num_threads());
  }
}
