// Statistics on a device: fp64 sums there, results on the CPU, equal to the CPU's.
#include "core/calibration/moment_sums.h"
#include "core/calibration/self_samples.h"
#include "tests/device/devices.h"
#include "tests/methods/tiny_conversions.h"

using namespace mla;
using namespace mla::test;

namespace {

CalibrationSamples padded_samples() {
  CalibrationSamples samples = tiny_samples(3, 4, 16, 50);
  samples.batches[1].mask.select(0, 2).slice(0, 11).fill_(false);
  samples.batches[2].mask.slice(1, 9).fill_(false);
  return samples;
}

void moments_of_equal_vectors(at::Device device) {
  const CalibrationSamples samples = padded_samples();
  const auto summed = [&](at::Device where) {
    MomentSums plain, weighted;
    for (std::size_t b = 0; b < samples.batches.size(); ++b) {
      const at::Tensor x = tiny_inputs(4, 16, 24, b).to(where), mask = samples.batches[b].mask.to(where);
      plain.add(x, mask);
      weighted.add_weighted(x, mask, tiny_inputs(4, 16, 1, 50 + b).squeeze(2).abs().to(at::kDouble).to(where));
    }
    return std::pair{plain.finish(), weighted.finish()};
  };
  const auto [plain, weighted] = summed(device);
  const auto [plain_host, weighted_host] = summed(at::kCPU);

  CHECK(plain.second.device().type() == device.type());
  CHECK(plain.second.scalar_type() == at::kDouble);
  CHECK(plain.tokens == plain_host.tokens);
  CHECK(max_relative_error(plain.second.cpu(), plain_host.second) < kFp64Span);
  CHECK(max_relative_error(plain.mean.cpu(), plain_host.mean) < kFp64Span);
  CHECK(max_relative_error(weighted.second.cpu(), weighted_host.second) < kFp64Span);
  CHECK(max_relative_error(weighted.mean.cpu(), weighted_host.mean) < kFp64Span);
}

void check_equal(const LayerStats& found, const LayerStats& wanted) {
  const auto check = [](const char* name, const at::Tensor& a, const at::Tensor& b) {
    INFO(name);
    REQUIRE(a.defined() == b.defined());
    if (!a.defined()) return;
    CHECK(a.device().is_cpu());
    CHECK(a.scalar_type() == b.scalar_type());
    CHECK(max_relative_error(a, b) < 10 * kFp32Reordering);  // activations in fp32
  };
  check("mean", found.input.mean, wanted.input.mean), check("second", found.input.second, wanted.input.second);
  check("projections", found.projections.second, wanted.projections.second), check("attended", found.attended.second, wanted.attended.second);
  check("query norms", found.pairs.query, wanted.pairs.query), check("key norms", found.pairs.key, wanted.pairs.key);
  check("query rows", found.rows.query, wanted.rows.query), check("key rows", found.rows.key, wanted.rows.key);
  check("gradients of keys", found.gradients.key, wanted.gradients.key), check("of values", found.gradients.value, wanted.gradients.value);
  check("of the stream", found.gradients.residual, wanted.gradients.residual), check("Fisher", found.gradients.key_fisher, wanted.gradients.key_fisher);
  check("latents", found.latents.key_value, wanted.latents.key_value), check("query latents", found.latents.query, wanted.latents.query);
}

void statistics_of_a_model(at::Device device) {
  const CalibrationSamples samples = padded_samples();
  StatKinds kinds{.input_moments = true, .pair_norms = true, .gradient_moments = true, .row_reservoir = true, .attended_moments = true, .projection_moments = true};
  for (const TinyShape& shape : {TinyShape{}, TinyShape{.qk_norm = true, .biases = true}}) {
    const Decoder host = tiny_decoder(shape), there = on_device(host, device);
    ResidualTrace trace;
    const CalibrationStats found = collect_stats(there, samples, kinds, &trace), wanted = collect_stats(host, samples, kinds);
    for (std::size_t layer = 0; layer < wanted.size(); ++layer) check_equal(found[layer], wanted[layer]);
    CHECK(trace[0][0].device().type() == device.type());
  }
}

void statistics_of_a_converted_model(at::Device device) {
  const CalibrationSamples samples = padded_samples();
  const Decoder host = convert_with(tiny_decoder(), "transmla", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 12}, {"q_lora_rank", 9}}).converted;
  const StatKinds kinds{.prefix_moments = true, .latent_scales = true};
  const CalibrationStats found = collect_stats(on_device(host, device), samples, kinds), wanted = collect_stats(host, samples, kinds);
  for (std::size_t layer = 0; layer < wanted.size(); ++layer) check_equal(found[layer], wanted[layer]);
}

void statistics_go_there_and_back(at::Device device) {
  const CalibrationStats stats = collect_stats(tiny_decoder(), padded_samples(), {.input_moments = true, .row_reservoir = true});
  const LayerStats there = to(stats[0], device);
  CHECK(there.input.second.device().type() == device.type());
  CHECK(there.rows.key.device().type() == device.type());
  CHECK_FALSE(there.gradients.key.defined());
  CHECK(at::equal(to(there, at::kCPU).input.second, stats[0].input.second));
}

void a_model_writes_samples(at::Device device) {
  const at::Tensor ids = write_samples(on_device(tiny_decoder(), device), 3, 12, 5);
  CHECK(ids.device().is_cpu());
  CHECK(ids.sizes() == at::IntArrayRef{3, 12});
}

const std::vector<DeviceCheck> kChecks{
    {"moments of equal vectors are the CPU's to 1e-8", moments_of_equal_vectors},
    {"statistics of a model are the CPU's, of every kind", statistics_of_a_model},
    {"statistics of a converted model are the CPU's", statistics_of_a_converted_model},
    {"statistics of a layer go to a device and back", statistics_go_there_and_back},
    {"a model on a device writes samples", a_model_writes_samples},
};

}  // namespace

TEST_CASE("statistics on the fake card", "[device][fake]") { on_fake_card(kChecks); }
TEST_CASE("statistics on a card", "[device][card]") { on_real_card(kChecks); }
