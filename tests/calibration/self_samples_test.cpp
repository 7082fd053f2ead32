// Samples that a model writes itself.
#include "core/calibration/self_samples.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

TEST_CASE("samples of its own follow the model's distribution", "[calibration][oracle]") {
  const Decoder model = tiny_decoder();
  const int64_t count = 20000, vocabulary = model.config.vocab_size;
  const at::Tensor ids = write_samples(model, count, 3, 5);
  REQUIRE(ids.sizes() == at::IntArrayRef({count, 3}));
  // How often each token came third, against the sum of its probabilities after the two that came.
  const at::Tensor probability = at::softmax(model.logits(model.last_hidden(ids.narrow(1, 0, 2)).select(1, 1)).to(at::kDouble), -1);
  const at::Tensor expected = probability.sum(0), variance = (probability * (1 - probability)).sum(0);
  const at::Tensor seen = at::bincount(ids.select(1, 2), {}, vocabulary).to(at::kDouble);
  CHECK(((seen - expected) / variance.sqrt()).abs().max().item<double>() < 5);  // standard deviations, 50 of them
  CHECK(expected.max().item<double>() > 1.1 * expected.min().item<double>());   // a uniform draw would not pass
}

TEST_CASE("the seed decides the model's own samples, and they join a text's", "[calibration]") {
  const Decoder model = tiny_decoder();
  const at::Tensor ids = write_samples(model, 5, 12, 1);
  CHECK(at::equal(ids, write_samples(model, 5, 12, 1)));
  CHECK_FALSE(at::equal(ids, write_samples(model, 5, 12, 2)));

  CalibrationSamples samples = tiny_samples(2, 3, 12, model.config.vocab_size);
  const std::string before = samples.key;
  add_samples(ids, 2, samples);
  CHECK(samples.tokens() == (6 + 5) * 12);
  CHECK(samples.batches.size() == 5);
  CHECK(samples.batches.back().ids.size(0) == 1);
  CHECK(samples.key != before);
}
