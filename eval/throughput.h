// How fast a model reads prompts and generates. Inputs are synthetic and equal for every model: ids drawn with a seed. Tokenising and
// sampling are no part of it; the logits of each sequence's last token are, as in llama-bench.
#pragma once
#include <memory>
#include <optional>

#include "core/engine/decode_engine.h"

namespace mla {

struct ThroughputLoad {
  int64_t prompt = 0, generated = 0;  // tokens of each sequence
  int64_t depth = 0;                  // tokens that are in the cache before the clock starts
  int64_t sequences = 1;              // in step, each forward over all of them
  int64_t chunk = 2048;               // tokens read at once, of all sequences together; at least one of each
  CacheFormat cache;
  uint64_t seed = 1;  // of the ids
  int64_t tokens() const { return depth + prompt + generated; }  // of each sequence, in the end
};

// One model under one load; the cache of `depth` tokens is read once and serves every repetition. `decoder` must outlive it.
class Throughput {
 public:
  // With an engine the tokens behind the prompt go through it; else through the decoder, as prompts do. Throws ConfigError for a load without a
  // token, or one that the engine does not hold.
  Throughput(const Decoder& decoder, const ThroughputLoad& load, const std::optional<EngineMachine>& engine = std::nullopt);
  // Everything once with at most two tokens generated, so that memory, kernels and threads are there when the clock starts.
  void warm_up();

  struct Sample {
    double seconds = 0;                         // wall, with the device's work done
    int64_t cache_bytes = 0, cache_tokens = 0;  // of all sequences at the end, counted from the cache
  };
  // One repetition. Throws Interrupted, and NumericalError as the model does.
  Sample run() { return run(load_.generated); }
  // Of generating, from a few tokens more and a few less; to choose between ways.
  double seconds_per_step();

 private:
  Sample run(int64_t generated);
  Sample run_engine(int64_t generated);
  void read(KvCache& cache, const at::Tensor& ids, int64_t first, int64_t count) const;
  void fill_engine(int64_t past);

  const Decoder& decoder_;
  ThroughputLoad load_;
  at::Tensor ids_;  // [sequences, tokens]
  std::optional<KvCache> deep_;
  std::optional<EngineMachine> machine_;
  std::unique_ptr<DecodeEngine> engine_;
};

// What generation reads at the least in one repetition, bytes: all weights that a token meets once a step (an embedding that is no head is
// looked up, not read), and the whole cache of each step.
double generation_bytes(const Decoder& decoder, const ThroughputLoad& load, double cache_bytes_per_token);

// All parameters in the model's dtype, bytes.
int64_t weight_bytes(const Decoder& decoder);

// Bytes read and written per second by the best of several large copies on the device.
double copy_bandwidth(at::Device device);

}  // namespace mla
