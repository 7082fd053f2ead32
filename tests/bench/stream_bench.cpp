// Memory and time of a conversion that streams, on a seeded random model of Llama-3.2-1B's shape in eight shards with synthetic statistics:
//   stream_bench make FOLDER               the checkpoint in bf16 (2.5 GB) and, beside it, statistics of every layer (0.5 GB)
//   stream_bench copy FOLDER OUT           copies the shards' bytes, flushed: seconds
//   stream_bench decompose FOLDER          splits and decompositions alone, layer by layer: seconds
//   stream_bench convert FOLDER OUT [TARGET]  `convert --stream` with those statistics: seconds, peak memory by kind
// Recipe: transmla --freqfold 4 --kv-lora-rank 256 without a second calibration. Threads: MLAFORGE_THREADS, else 2. docs/performance.md.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <thread>

#include "core/base/files.h"
#include "core/base/process.h"
#include "core/checkpoint/directory_writer.h"
#include "core/checkpoint/expected_tensors.h"
#include "core/checkpoint/safetensors_folder.h"
#include "experiments/model_export.h"
#include "experiments/session.h"
#include "methods/layer_conversion.h"
#include "methods/registry.h"
#include "methods/streamed_convert.h"
#include "tests/support/tiny_model.h"

using namespace mla;
namespace fs = std::filesystem;

namespace {

const Json kConfig{{"architectures", {"LlamaForCausalLM"}}, {"model_type", "llama"}, {"vocab_size", 128256}, {"hidden_size", 2048}, {"intermediate_size", 8192},
                   {"num_hidden_layers", 16}, {"num_attention_heads", 32}, {"num_key_value_heads", 8}, {"head_dim", 64}, {"hidden_act", "silu"},
                   {"max_position_embeddings", 8192}, {"rms_norm_eps", 1e-5}, {"rope_theta", 500000.0}, {"tie_word_embeddings", true}};
const Json kOptions{{"freqfold", 4}, {"kv_lora_rank", 256}, {"recalibrate", false}};
constexpr std::size_t kShard = 310'000'000;  // eight of them

uint64_t seed_of(const std::string& name) { return std::hash<std::string>()(name); }

at::Tensor drawn(const std::vector<int64_t>& shape, const std::string& name) {
  const at::Tensor values = at::randn(shape, at::detail::createCPUGenerator(seed_of(name)), at::kFloat);
  return (shape.size() == 1 ? 1 + 0.1 * values : values / std::sqrt(static_cast<double>(shape.back()))).to(at::kBFloat16);
}

// Second moments of inputs whose variances fall off as those of a model's do.
LayerStats drawn_stats(int64_t width, int64_t layer) {
  const at::Tensor a = at::randn({width, width}, at::detail::createCPUGenerator(seed_of("layer " + std::to_string(layer))), at::kDouble);
  const at::Tensor scaled = a * at::pow(at::arange(1, width + 1, at::kDouble), -0.5).unsqueeze(0);
  LayerStats stats;
  stats.input = {4096, at::zeros({width}, at::kDouble), scaled.matmul(scaled.t()) / static_cast<double>(width) + 1e-3 * at::eye(width, at::kDouble)};
  return stats;
}

// Highest resident memory by kind, looked at a hundred times a second.
class MemoryWatch {
 public:
  MemoryWatch() : thread_([this] { watch(); }) {}
  ~MemoryWatch() { stop(); }
  void stop() {
    going_ = false;
    if (thread_.joinable()) thread_.join();
  }
  double anonymous_mb = 0, file_mb = 0, all_mb = 0;

 private:
  void watch() {
    while (going_) {
      std::ifstream in("/proc/self/status");
      double anonymous = 0, file = 0, kilobytes = 0;
      for (std::string key, rest; in >> key && std::getline(in, rest);) {
        if (key != "RssAnon:" && key != "RssFile:") continue;
        kilobytes = std::atof(rest.c_str());
        (key == "RssAnon:" ? anonymous : file) = kilobytes / 1000 * 1.024;
      }
      anonymous_mb = std::max(anonymous_mb, anonymous), file_mb = std::max(file_mb, file), all_mb = std::max(all_mb, anonymous + file);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  std::atomic<bool> going_{true};
  std::thread thread_;
};

class StatsFiles : public StatsStream {
 public:
  explicit StatsFiles(fs::path folder) : folder_(std::move(folder)) {}
  LayerParts reads() const override { return LayerParts::outline; }
  LayerStats next(const Decoder&, int64_t layer) override {
    const SafetensorsFolder file(folder_ / std::to_string(layer));
    LayerStats stats;
    stats.input = {4096, file.load("mean", at::kDouble), file.load("second", at::kDouble)};
    return stats;
  }

 private:
  fs::path folder_;
};

void make(const fs::path& folder) {
  DirectoryWriter writer(folder / "model", kConfig, kShard);
  for (const ExpectedTensor& tensor : expected_tensors(config_from_hf(kConfig, "bench")))
    writer.add(tensor.name, LaterTensor(at::kBFloat16, tensor.shape, [tensor] { return drawn(tensor.shape, tensor.name); }));
  writer.add_file("tokenizer.json", test::letter_tokenizer().to_tokenizer_json().dump());
  writer.finish({});
  for (int64_t layer = 0; layer < kConfig["num_hidden_layers"]; ++layer) {
    const LayerStats stats = drawn_stats(kConfig["hidden_size"], layer);
    DirectoryWriter files(folder / "statistics" / std::to_string(layer), Json::object());
    files.add("mean", stats.input.mean);
    files.add("second", stats.input.second);
    files.finish({});
  }
}

std::vector<fs::path> shards_of(const fs::path& model) {
  std::vector<fs::path> shards;
  for (const auto& entry : fs::directory_iterator(model))
    if (entry.path().extension() == ".safetensors") shards.push_back(entry.path());
  return shards;
}

void copy(const fs::path& folder, const fs::path& out) {
  fs::create_directories(out);
  const Stopwatch watch;
  std::size_t bytes = 0;
  for (const fs::path& shard : shards_of(folder / "model")) {
    const MappedFile file(shard);
    AtomicFile copied(out / shard.filename());
    copied.write(file.bytes().data(), file.bytes().size());
    copied.commit();
    bytes += file.bytes().size();
  }
  std::printf("copy: %.1f s, %.0f MB in %zu shards\n", watch.seconds(), static_cast<double>(bytes) / 1e6, shards_of(folder / "model").size());
}

OpenedModel opened(const fs::path& folder) {
  const char* threads = std::getenv("MLAFORGE_THREADS");
  return open_model({(folder / "model").string(), "", "bf16", "cpu", threads != nullptr ? std::atoi(threads) : 2});
}

void decompose(const fs::path& folder) {
  const OpenedModel model = opened(folder);
  const Recipe recipe = find_recipe("transmla").make(kOptions, model.model.decoder.config);
  StatsFiles files(folder / "statistics");
  double seconds = 0, cpu = 0;
  for (int64_t layer = 0; layer < model.layers.layers(); ++layer) {
    const DecoderLayer weights = model.layers.read(layer, LayerParts::attention);
    const GqaWeights& gqa = gqa_of(weights.attention, layer);
    const LayerStats stats = files.next({}, layer);
    const Stopwatch watch;
    const LayerConversion steps(recipe, gqa, at::kBFloat16, "");
    Split split = steps.split(gqa, stats);
    AttentionWeights around = steps.around_latent(split);
    HalfConverted half = steps.decompose(gqa, layer, std::move(split), {stats}, std::move(around));
    const LayerRanks ranks = recipe.allocator->allocate({half.spectrum}, {stats}).front();
    steps.finish(std::move(half), ranks, layer);
    seconds += watch.seconds(), cpu += watch.cpu();
  }
  std::printf("decompositions: %.1f s, %.1f s of CPU, %d threads\n", seconds, cpu, at::get_num_threads());
}

void convert(const fs::path& folder, const fs::path& out, const std::string& target) {
  const Stopwatch watch;
  MemoryWatch memory;
  const OpenedModel model = opened(folder);
  const Recipe recipe = find_recipe("transmla").make(kOptions, model.model.decoder.config);
  const StreamSource source{[&](const Decoder&, const StatKinds&, const std::string&) { return std::make_unique<StatsFiles>(folder / "statistics"); }, "", nullptr, folder};
  const StreamedConversion made = convert_streamed(model.layers, recipe, source);
  const double converted = watch.seconds();
  const CalibrationSamples samples = built_in_samples(*model.model.tokenizer, 64);
  ExportFlags flags;
  flags.target = target;
  export_model({model.model, made.converted, {{"method", "transmla"}}, samples, folder}, flags, out.string());
  memory.stop();
  std::printf("convert --stream --for %s: %.1f s (%.1f until all layers were converted), %.1f s of CPU, %d threads\n", target.c_str(), watch.seconds(), converted, watch.cpu(),
              at::get_num_threads());
  std::printf("peak: %.0f MB anonymous, %.0f MB of files, %.0f MB together; VmHWM %.0f MB\n", memory.anonymous_mb, memory.file_mb, memory.all_mb, peak_rss_mb());
}

}  // namespace

int main(int argc, char** argv) {
  const c10::InferenceMode inference;
  const std::string what = argc > 2 ? argv[1] : "";
  if (what == "make") make(argv[2]);
  else if (what == "copy" && argc > 3) copy(argv[2], argv[3]);
  else if (what == "decompose") decompose(argv[2]);
  else if (what == "convert" && argc > 3) convert(argv[2], argv[3], argc > 4 ? argv[4] : "mlaforge");
  else return std::cerr << "wanted make FOLDER, copy FOLDER OUT, decompose FOLDER or convert FOLDER OUT [TARGET]\n", 2;
}
