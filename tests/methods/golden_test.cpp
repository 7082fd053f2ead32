// Numbers of the original Python programs on the real model (tests/oracle/reference_goldens.py).
#include "tests/support/catch.h"

#include "methods/factorizers/balanced_pca.h"
#include "methods/splitters/pair_selection.h"
#include "tests/support/smollm2.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

constexpr double kGolden = 1e-3;       // another program's fp32 against ours
constexpr int64_t kLogitStride = 48;   // of the stored logits
const Json kTransmla{{"freqfold", 4}, {"collapse", 1}, {"qk_mqa_dim", 64}, {"kv_lora_rank", 128}, {"balance_kv_ratio", 1.0}};

at::Tensor thinned_logits(const Decoder& model, const at::Tensor& ids) {
  return model.logits(model.last_hidden(ids))[0].slice(1, 0, std::nullopt, kLogitStride);
}

at::Tensor svals(const at::Tensor& matrix) { return at::linalg_svdvals(matrix.to(at::kDouble)); }

}  // namespace

TEST_CASE("original, partial-RoPE and converted logits equal TransMLA's", "[methods][golden]") {
  const RealModel* real = real_model();
  if (real == nullptr) return;
  const SafetensorsFile file(golden("transmla_ff4_r128.safetensors"));
  const at::Tensor ids = golden_tensor(file, "ids");

  const Conversion conversion = convert_real(*real, "transmla", kTransmla);

  CHECK(max_relative_error(thinned_logits(real->decoder, ids), golden_tensor(file, "orig_logits")) < kOtherProgram);
  CHECK(max_relative_error(thinned_logits(*conversion.partial_rope, ids), golden_tensor(file, "partial_rope_logits")) < kGolden);
  CHECK(max_relative_error(thinned_logits(conversion.converted, ids), golden_tensor(file, "mla_logits")) < kGolden);
}

TEST_CASE("energies of the rotation and of the joint PCA equal TransMLA's eigenvalues", "[methods][golden]") {
  const RealModel* real = real_model();
  if (real == nullptr) return;
  const SafetensorsFile file(golden("transmla_ff4_r128.safetensors"));
  const Recipe recipe = find_recipe("transmla").make(kTransmla, real->decoder.config);
  const CollectStats collect = shared_stats(*real);
  const CalibrationStats stats = collect(real->decoder, {.input_moments = true}, "original");
  const Conversion conversion = convert_real(*real, "transmla", kTransmla);
  const CalibrationStats second = collect(*conversion.partial_rope, {.prefix_moments = true}, "partial_rope " + recipe.splitter->state().dump());

  for (const std::size_t layer : {0u, 15u}) {
    const std::string suffix = "_layer" + std::to_string(layer);
    const SplitLayer split = recipe.splitter->split(std::get<GqaWeights>(real->decoder.layers[layer].attention), stats[layer]);
    const at::Tensor sums = at::tensor(split.energies, at::kDouble).view({8, 12}) * static_cast<double>(real->samples.tokens());
    const at::Tensor rotation = std::get<0>(golden_tensor(file, "rot_eigvals" + suffix).sort(1, true));
    CHECK(max_relative_error(std::get<0>(sums.sort(1, true)), rotation) < kGolden);

    const Spectrum spectrum = recipe.factorizer->factorize(split, second[layer]);
    CHECK(max_relative_error(spectrum.parts[0].energies * static_cast<double>(real->samples.tokens()), golden_tensor(file, "kv_pca_eigvals" + suffix)) < kGolden);
  }
}

TEST_CASE("singular values of the converted projections equal TransMLA's", "[methods][golden]") {
  const RealModel* real = real_model();
  if (real == nullptr) return;
  const SafetensorsFile file(golden("transmla_ff4_r128.safetensors"));
  const Conversion conversion = convert_real(*real, "transmla", kTransmla);
  for (const std::size_t layer : {0u, 15u}) {
    const std::string suffix = "_layer" + std::to_string(layer);
    const auto& weights = std::get<MlaWeights>(conversion.converted.layers[layer].attention);
    CHECK(max_relative_error(svals(weights.kv_a), golden_tensor(file, "kv_a_svals" + suffix)) < kGolden);
  }
}

TEST_CASE("the 2-norm rank of every rotary pair equals MHA2MLA's, ties aside", "[methods][golden]") {
  const RealModel* real = real_model();
  if (real == nullptr) return;
  const Json ranks = read_json_file(golden("mha2mla_2norm_rank.json"));
  const CalibrationStats stats = shared_stats(*real)(real->decoder, {.pair_norms = true}, "original");
  int64_t differing = 0;
  for (std::size_t layer = 0; layer < stats.size(); ++layer) {
    const at::Tensor ours = two_norm_rank(stats[layer].pairs);
    for (int64_t g = 0; g < ours.size(0); ++g) {
      const at::Tensor theirs = at::tensor(ranks[layer][static_cast<std::size_t>(g)].get<std::vector<int64_t>>(), at::kLong);
      differing += (ours[g] != theirs).sum().item<int64_t>();
    }
  }
  CHECK(differing == 0);
}
