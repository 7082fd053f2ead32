#include "eval/throughput.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/base/process.h"

namespace mla {
namespace {

constexpr int64_t kHostCopy = int64_t{256} << 20, kDeviceCopy = int64_t{1} << 30;  // bytes: far more than caches hold
constexpr int kCopies = 7;

}  // namespace

Throughput::Throughput(const Decoder& decoder, const ThroughputLoad& load) : decoder_(decoder), load_(load) {
  if (load.prompt + load.generated < 1 || load.depth < 0 || load.sequences < 1 || load.chunk < 1)
    fail<ConfigError>("throughput", "wanted at least one token, one sequence and a chunk of one, got ", load.prompt + load.generated, ", ", load.sequences, " and ", load.chunk);
  ids_ = at::randint(0, decoder.config.vocab_size, {load.sequences, load.tokens()}, at::detail::createCPUGenerator(load.seed), at::TensorOptions(at::kLong)).to(decoder.device());
  load_.cache.room = load.tokens();
}

// Tokens first .. first+count-1 of every sequence, and the logits behind the last.
void Throughput::read(KvCache& cache, int64_t first, int64_t count) const {
  const int64_t piece = std::max<int64_t>(1, load_.chunk / load_.sequences);
  for (int64_t start = first; start < first + count; start += piece) {
    throw_if_interrupted();
    const int64_t tokens = std::min(piece, first + count - start);
    const at::Tensor hidden = decoder_.last_hidden(ids_.narrow(1, start, tokens), &cache);
    if (start + tokens == first + count) decoder_.logits(hidden.select(1, -1));
  }
}

Throughput::Sample Throughput::run(int64_t generated) {
  if (!deep_) {
    deep_.emplace().format = load_.cache;
    if (load_.depth > 0) read(*deep_, 0, load_.depth);
  }
  KvCache cache = *deep_;  // what follows the depth is written behind it, over what the last repetition wrote there
  synchronize(decoder_.device());
  const Stopwatch watch;
  if (load_.prompt > 0) read(cache, load_.depth, load_.prompt);
  for (int64_t i = 0; i < generated; ++i) read(cache, load_.depth + load_.prompt + i, 1);
  synchronize(decoder_.device());
  const double seconds = watch.seconds();
  return {seconds, cache.bytes(), cache.length() * load_.sequences};
}

void Throughput::warm_up() { run(std::min<int64_t>(load_.generated, 1)); }

int64_t weight_bytes(const Decoder& decoder) { return decoder.parameters() * static_cast<int64_t>(c10::elementSize(decoder.dtype())); }

double generation_bytes(const Decoder& decoder, const ThroughputLoad& load, double cache_bytes_per_token) {
  int64_t weights = weight_bytes(decoder);
  if (!decoder.head.is_same(decoder.embedding)) weights -= static_cast<int64_t>(decoder.embedding.nbytes());
  const auto steps = static_cast<double>(load.generated), before = static_cast<double>(load.depth + load.prompt);
  const double tokens_read = steps * before + steps * (steps + 1) / 2;  // of each sequence: each step reads the past and its own token
  return steps * static_cast<double>(weights) + static_cast<double>(load.sequences) * tokens_read * cache_bytes_per_token;
}

double copy_bandwidth(at::Device device) {
  const int64_t bytes = device.is_cuda() ? kDeviceCopy : kHostCopy;
  const at::Tensor from = at::ones({bytes / 4}, at::TensorOptions(at::kFloat).device(device)), to = at::zeros_like(from);
  double best = 0;
  for (int i = 0; i < kCopies; ++i) {
    synchronize(device);
    const Stopwatch watch;
    to.copy_(from);
    synchronize(device);
    best = std::max(best, 2 * static_cast<double>(bytes) / watch.seconds());
  }
  return best;
}

}  // namespace mla
