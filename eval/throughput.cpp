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

Throughput::Throughput(const Decoder& decoder, const ThroughputLoad& load, const std::optional<EngineMachine>& engine) : decoder_(decoder), load_(load) {
  if (load.prompt + load.generated < 1 || load.depth < 0 || load.sequences < 1 || load.chunk < 1)
    fail<ConfigError>("throughput", "wanted at least one token, one sequence and a chunk of one, got ", load.prompt + load.generated, ", ", load.sequences, " and ", load.chunk);
  ids_ = at::randint(0, decoder.config.vocab_size, {load.sequences, load.tokens()}, at::detail::createCPUGenerator(load.seed), at::TensorOptions(at::kLong)).to(decoder.device());
  load_.cache.room = load.tokens();
  if (load.generated > 0) machine_ = engine;
}

// Tokens first .. first+count-1 of some sequences' ids, and the logits behind the last.
void Throughput::read(KvCache& cache, const at::Tensor& ids, int64_t first, int64_t count) const {
  const int64_t piece = std::max<int64_t>(1, load_.chunk / ids.size(0));
  for (int64_t start = first; start < first + count; start += piece) {
    throw_if_interrupted();
    const int64_t tokens = std::min(piece, first + count - start);
    const at::Tensor hidden = decoder_.last_hidden(ids.narrow(1, start, tokens), &cache);
    if (start + tokens == first + count) decoder_.logits(hidden.select(1, -1));
  }
}

Throughput::Sample Throughput::run(int64_t generated) {
  if (machine_) return run_engine(generated);
  if (!deep_) {
    deep_.emplace().format = load_.cache;
    if (load_.depth > 0) read(*deep_, ids_, 0, load_.depth);
  }
  KvCache cache = *deep_;  // what follows the depth is written behind it, over what the last repetition wrote there
  synchronize(decoder_.device());
  const Stopwatch watch;
  if (load_.prompt > 0) read(cache, ids_, load_.depth, load_.prompt);
  for (int64_t i = 0; i < generated; ++i) read(cache, ids_, load_.depth + load_.prompt + i, 1);
  synchronize(decoder_.device());
  const double seconds = watch.seconds();
  return {seconds, cache.bytes(), cache.length() * load_.sequences};
}

// The engine's sequences with `past` tokens each. As many are read at a time as a chunk holds, so that no second cache of all of them stands
// beside the pages; those behind a depth come all at once, since its cache is one.
void Throughput::fill_engine(int64_t past) {
  const bool behind = deep_.has_value();
  const int64_t group = behind ? load_.sequences : std::clamp<int64_t>(load_.chunk / std::max<int64_t>(1, past), 1, load_.sequences), start = behind ? load_.depth : 0;
  for (int64_t first = 0; first < load_.sequences; first += group) {
    const at::Tensor ids = ids_.narrow(0, first, std::min(group, load_.sequences - first));
    KvCache cache{{}, {.room = past}};
    if (behind) cache = *deep_;
    read(cache, ids, start, past - start);
    engine_->adopt(first, cache, ids.narrow(1, past, load_.generated));
  }
}

Throughput::Sample Throughput::run_engine(int64_t generated) {
  if (!engine_) {
    engine_ = std::make_unique<DecodeEngine>(decoder_, *machine_, std::vector<int64_t>(static_cast<std::size_t>(load_.sequences), load_.tokens()), EngineOptions{.cache = load_.cache});
    if (load_.prompt == 0) {
      fill_engine(load_.depth);
      engine_->save();
    } else if (load_.depth > 0) {
      deep_.emplace().format.room = load_.depth + load_.prompt;
      read(*deep_, ids_, 0, load_.depth);
    }
  }
  if (load_.prompt == 0) engine_->restore();
  synchronize(decoder_.device());
  const Stopwatch watch;
  if (load_.prompt > 0) fill_engine(load_.depth + load_.prompt);
  engine_->run(generated);
  synchronize(decoder_.device());
  const double seconds = watch.seconds();
  return {seconds, engine_->cache_bytes(), engine_->lengths().front() * load_.sequences};
}

void Throughput::warm_up() { run(std::min<int64_t>(load_.generated, 2)); }

double Throughput::seconds_per_step() {
  constexpr int64_t kFew = 2, kMore = 10;
  constexpr int kTries = 3;  // of each; the best counts
  const int64_t few = std::min(load_.generated, kFew), more = std::min(load_.generated, kMore);
  const auto best = [&](int64_t generated) {
    double seconds = run(generated).seconds;
    for (int i = 1; i < kTries; ++i) seconds = std::min(seconds, run(generated).seconds);
    return seconds;
  };
  run(few);  // what is made once is not timed
  return more > few ? (best(more) - best(few)) / static_cast<double>(more - few) : best(few);
}

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
