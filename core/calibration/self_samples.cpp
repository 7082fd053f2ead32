#include "core/calibration/self_samples.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>

#include "core/base/process.h"
#include "core/base/progress.h"
#include "core/base/sha256.h"

namespace mla {
namespace {

constexpr int64_t kTogether = 64;  // samples written at once: enough for full matrix products, few enough for the logits

at::Tensor write_batch(const Decoder& model, at::Tensor next, int64_t length, at::Generator& generator) {
  std::vector<at::Tensor> ids{next};
  KvCache cache;
  while (static_cast<int64_t>(ids.size()) < length) {
    throw_if_interrupted();
    const at::Tensor hidden = model.last_hidden(next.to(model.device()), &cache).select(1, -1);
    next = at::softmax(model.logits(hidden), -1).to(at::kCPU).multinomial(1, false, generator);
    ids.push_back(next);
  }
  return at::cat(ids, 1);
}

}  // namespace

at::Tensor write_samples(const Decoder& model, int64_t count, int64_t length, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const at::Tensor first = at::randint(0, model.config.vocab_size, {count, 1}, generator, at::TensorOptions(at::kLong));
  std::vector<at::Tensor> batches;
  Progress progress("Writing", "samples", count);
  for (int64_t done = 0; done < count; done += kTogether) {
    const int64_t together = std::min(kTogether, count - done);
    batches.push_back(write_batch(model, first.narrow(0, done, together), length, generator));
    progress.advance(done + together);
  }
  return at::cat(batches);
}

void add_samples(const at::Tensor& ids, int64_t batch_size, CalibrationSamples& samples) {
  for (const at::Tensor& part : ids.split(batch_size)) samples.batches.push_back({part, at::ones(part.sizes(), at::kBool)});
  const at::Tensor plain = ids.contiguous();
  samples.key = sha256_hex(samples.key + std::string(static_cast<const char*>(plain.const_data_ptr()), plain.nbytes()));
}

}  // namespace mla
