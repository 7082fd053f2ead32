// Loading, scoring and generating on a device.
#include <c10/core/Allocator.h>

#include "core/model/generation.h"
#include "eval/cached_model.h"
#include "eval/continuations.h"
#include "eval/perplexity.h"
#include "tests/device/devices.h"
#include "tests/methods/tiny_conversions.h"
#include "tests/support/family_models.h"
#include "tests/support/no_model.h"

using namespace mla;
using namespace mla::test;

namespace {

// A latent, a rebuilt and an original model.
std::vector<Decoder> forms() {
  return {tiny_decoder(), convert_with(tiny_decoder(), "transmla", {{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 12}}).converted,
          convert_with(tiny_decoder({.qk_norm = true}), "svd", {{"rank", 9}}).converted};
}

void families_have_the_cpus_logits(at::Device device) {
  for (const std::string& name : family_names()) {
    INFO(name);
    const Decoder host = family_model(name), there = on_device(host, device);
    const at::Tensor ids = tiny_ids(2, 40, host.config.vocab_size);
    CHECK(max_relative_error(there.logits(there.last_hidden(ids)).cpu(), host.logits(host.last_hidden(ids))) < kOtherProgram);
  }
}

void texts_are_scored_alike(at::Device device) {
  for (const Decoder& host : forms()) {
    const Decoder there = on_device(host, device);
    DecoderModel a(host), b(there);
    Windows windows{.ids = tiny_ids(3, 20, 50, 5), .protocol = "test", .corpus = "tiny"};
    for (const bool ragged : {false, true}) {
      if (ragged) windows.lengths = at::tensor({20, 13, 7}, at::kLong);
      const std::vector<StageScore> found = score_windows({{"original", &b}, {"mla", &b}}, windows, {}), wanted = score_windows({{"original", &a}, {"mla", &a}}, windows, {});
      CHECK(std::abs(found[0].perplexity / wanted[0].perplexity - 1) < kFp32Reordering);
      CHECK(found[1].divergence->mean < kKlOfEquals);
    }
  }
}

void divergence_between_models(at::Device device) {
  const std::vector<Decoder> models = forms();
  DecoderModel original(models[0]), converted(models[1]);
  const Decoder original_there = on_device(models[0], device), converted_there = on_device(models[1], device);
  DecoderModel a(original_there), b(converted_there);
  const Windows windows{.ids = tiny_ids(3, 20, 50, 5), .protocol = "test", .corpus = "tiny"};
  const double found = score_windows({{"original", &a}, {"mla", &b}}, windows, {})[1].divergence->mean;
  const double wanted = score_windows({{"original", &original}, {"mla", &converted}}, windows, {})[1].divergence->mean;
  CHECK(std::abs(found / wanted - 1) < kOtherProgram);
}

std::vector<int32_t> few_ids(int64_t count, uint64_t seed) {
  const at::Tensor ids = tiny_ids(1, count, 50, seed)[0];
  return {ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + count};
}

// Choices behind a shared beginning, behind a prefix of all items, with and without a sliding window.
void continuations_are_scored_alike(at::Device device) {
  const std::vector<int32_t> examples = few_ids(40, 1);
  std::vector<RequestItem> items;
  for (uint64_t i = 0; i < 3; ++i) {
    std::vector<int32_t> context = examples;
    for (const int32_t id : few_ids(5, 10 + i)) context.push_back(id);
    items.push_back({{context, few_ids(3, 20 + i)}, {context, few_ids(2, 30 + i)}});
  }
  std::vector<Decoder> models = forms();
  for (const char* name : {"gemma2", "mistral"}) models.push_back(family_model(name));  // windows, soft-caps
  for (const Decoder& host : models) {
    const Decoder there = on_device(host, device);
    DecoderModel a(host), b(there);
    std::vector<double> sums[2];
    for (const int side : {0, 1})
      score_continuations({side == 0 ? &a : &b}, items, {.max_length = 64}, [&](std::size_t, const std::vector<ItemScores>& batch) {
        for (const ItemScores& item : batch)
          for (const ContinuationScore& score : item[0]) sums[side].push_back(score.log_likelihood);
      });
    REQUIRE(sums[0].size() == 6);
    for (std::size_t i = 0; i < sums[0].size(); ++i) CHECK(std::abs(sums[1][i] / sums[0][i] - 1) < kOtherProgram);
  }
}

void caches_hold_what_the_cpus_do(at::Device device) {
  const at::Tensor ids = tiny_ids(1, 30, 50);
  for (const Decoder& host : forms()) {
    const Decoder there = on_device(host, device);
    for (const char* name : {"", "bf16", "int8", "int4", "int2"}) {
      CacheFormat format = parse_cache_format(name);
      format.residual = 8;
      if (format.quant) format.quant->group = 8;
      INFO("cache " << name);
      CachedModel a(host, format), b(there, format);
      const at::Tensor wanted = a.last_hidden(ids), found = b.last_hidden(ids).cpu();
      CHECK((found - wanted).norm().item<double>() < 0.01 * wanted.norm().item<double>());  // a code may fall on the other side of a half
      CHECK(b.cache_bytes_per_token() == a.cache_bytes_per_token());
    }
  }
}

void generation_is_the_cpus(at::Device device) {
  for (const Decoder& host : forms()) {
    KvCache quantised;
    quantised.format = parse_cache_format("int8");
    quantised.format.residual = 4;
    const Decoder there = on_device(host, device);
    CHECK(generate(there, few_ids(9, 3), {.max_new_tokens = 12}) == generate(host, few_ids(9, 3), {.max_new_tokens = 12}));
    CHECK(generate(there, few_ids(9, 3), {.max_new_tokens = 12, .cache = &quantised}).size() == 12);
    CHECK(quantised.layers[0].quantised_tokens() > 0);
    check_lies_on(there, device);
  }
}

void half_precisions(at::Device device) {
  const TemporaryFolder folder;
  save_decoder(tiny_decoder(), "{}", {{"method", "none"}}, folder / "model");
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    const auto logits = [&](at::Device where) {
      const Decoder model = load_decoder(*Checkpoint::open(folder / "model"), where, dtype);
      CHECK(model.dtype() == dtype);
      return model.logits(model.last_hidden(tiny_ids(2, 20, 50))).cpu();
    };
    CHECK(mean_kl(logits(device), logits(at::kCPU)) < 1e-3);  // nats; sums are rounded to 8 or 11 bits on the way
  }
}

// ---- loading ----------------------------------------------------------------------------------------------------------

// Bytes of CPU tensors while it lives.
class HostBytes : public c10::Allocator {
 public:
  HostBytes() : inner_(c10::GetAllocator(at::kCPU)) { c10::SetAllocator(at::kCPU, this, 0xff); }
  ~HostBytes() override { c10::SetAllocator(at::kCPU, inner_, 0xff); }
  c10::DataPtr allocate(std::size_t bytes) override {
    auto* block = new Block{this, inner_->allocate(bytes), bytes};
    peak = std::max(peak, now += bytes);
    return {block->memory.get(), block, [](void* p) { give_back(static_cast<Block*>(p)); }, at::kCPU};
  }
  void copy_data(void* to, const void* from, std::size_t count) const override { inner_->copy_data(to, from, count); }
  std::size_t now = 0, peak = 0;

 private:
  struct Block {
    HostBytes* meter;
    c10::DataPtr memory;
    std::size_t bytes;
  };
  static void give_back(Block* block) {
    block->meter->now -= block->bytes;
    delete block;
  }
  c10::Allocator* inner_;
};

struct Loaded {
  std::size_t weights, largest, host_peak;  // bytes; of the largest tensor in a file
};
Loaded loaded(const fs::path& path, at::Device device) {
  const auto checkpoint = Checkpoint::open(path);
  std::size_t largest = 0;
  for (const std::string& name : checkpoint->names()) {
    std::size_t bytes = 4;
    for (const int64_t size : checkpoint->shape(name)) bytes *= static_cast<std::size_t>(size);
    largest = std::max(largest, bytes);
  }
  HostBytes meter;
  const Decoder model = load_decoder(*checkpoint, device, at::kFloat);
  check_lies_on(model, device);
  return {4 * static_cast<std::size_t>(model.parameters()), largest, meter.peak};
}

void folders_are_loaded_tensor_by_tensor(at::Device device) {
  const TemporaryFolder folder;
  save_decoder(tiny_decoder({.layers = 6, .heads = 8, .groups = 4, .head_dim = 16, .width = 128, .inner = 256, .vocab = 200}), "{}", {{"method", "none"}}, folder / "model");
  const Loaded l = loaded(folder / "model", device);
  CHECK(l.weights > 20 * l.largest);
  CHECK(l.host_peak < 2 * l.largest + 4096);
}

void gguf_files_are_loaded_tensor_by_tensor(at::Device device) {
  if (no_model()) return;
  const Loaded l = loaded(smollm2(), device);
  CHECK(l.weights > 4 * l.largest);
  CHECK(l.host_peak < 2 * l.largest);
}

const std::vector<DeviceCheck> kChecks{
    {"every family has the CPU's logits", families_have_the_cpus_logits},
    {"texts are scored as on the CPU", texts_are_scored_alike},
    {"the divergence between two models is the CPU's", divergence_between_models},
    {"continuations are scored as on the CPU", continuations_are_scored_alike},
    {"quantised caches hold what the CPU's do", caches_hold_what_the_cpus_do},
    {"greedy generation is the CPU's", generation_is_the_cpus},
    {"bf16 and fp16 models run", half_precisions},
    {"a folder goes to the device tensor by tensor", folders_are_loaded_tensor_by_tensor},
    {"a GGUF file goes to the device tensor by tensor", gguf_files_are_loaded_tensor_by_tensor},
};

}  // namespace

TEST_CASE("loading, scoring and generation on the fake card", "[device][fake]") { on_fake_card(kChecks); }
TEST_CASE("loading, scoring and generation on a card", "[device][card]") { on_real_card(kChecks); }

TEST_CASE("deterministic mode is ATen's, and the CPU needs none", "[device][deterministic]") {
  at::globalContext().setDeterministicAlgorithms(false, false);
  compute_deterministically(at::kCPU);
  CHECK_FALSE(at::globalContext().deterministicAlgorithms());

  compute_deterministically(at::Device(at::kCUDA, 0));
  CHECK(at::globalContext().deterministicAlgorithms());
  CHECK_FALSE(at::globalContext().deterministicAlgorithmsWarnOnly());
  CHECK(std::string(getenv("CUBLAS_WORKSPACE_CONFIG")) == ":4096:8");
  at::globalContext().setDeterministicAlgorithms(false, false);
}
