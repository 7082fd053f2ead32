#include <fstream>

#include "tests/support/catch.h"

#include "core/base/error.h"
#include "core/checkpoint/checkpoint.h"
#include "methods/convert.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

Decoder converted(const Json& options, const char* method = "transmla") {
  const Decoder original = tiny_decoder();
  const CalibrationSamples samples = tiny_samples(1, 3, 16, original.config.vocab_size);
  return convert(original, find_recipe(method).make(options, original.config),
                 [&](const Decoder& m, const StatKinds& k, const std::string&) { return collect_stats(m, samples, k); })
      .converted;
}

Decoder saved_and_read(const Decoder& model, const fs::path& folder) {
  save_decoder(model, "{}", {{"method", "test"}}, folder);
  return load_decoder(*Checkpoint::open(folder), at::kCPU, at::kFloat);
}

}  // namespace

TEST_CASE("a saved model reads back with the same logits, bit for bit", "[model][io]") {
  const TemporaryFolder folder;
  const auto model = GENERATE(0, 1, 2, 3, 4);
  const Decoder saved = model == 0   ? tiny_decoder()
                        : model == 1 ? converted({{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 12}})
                        : model == 2 ? converted({{"freqfold", 2}, {"qk_mqa_dim", 4}, {"kv_lora_rank", 7}, {"q_lora_rank", 9}})
                        : model == 3 ? converted({{"group_rank", 5}, {"group_size", 1}}, "palu")  // low-rank keys and values
                                     : converted({{"rope_mode", "extend"}, {"num_kv_heads", 2}, {"head_dim", 4}}, "mla_retrofit");  // no position-free dims

  const Decoder read = saved_and_read(saved, folder / "model");

  const at::Tensor ids = tiny_ids(2, 9, saved.config.vocab_size);
  CHECK(at::equal(read.last_hidden(ids), saved.last_hidden(ids)));
  CHECK(read.parameters() == saved.parameters());
}

TEST_CASE("an existing folder that is not empty is never overwritten", "[model][errors]") {
  const TemporaryFolder folder;
  fs::create_directories(folder / "model");
  std::ofstream(folder / "model/keep.txt") << "mine";

  CHECK_THROWS_AS(save_decoder(tiny_decoder(), "{}", {}, folder / "model"), ConfigError);

  CHECK(fs::exists(folder / "model/keep.txt"));
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);  // and nothing half-written lies beside it
}

TEST_CASE("a converted folder whose description does not fit its tensors is refused", "[model][errors]") {
  const TemporaryFolder folder;
  saved_and_read(converted({{"freqfold", 2}, {"qk_mqa_dim", 8}, {"kv_lora_rank", 12}}), folder / "model");
  Json config = read_json_file(folder / "model/config.json");
  const auto edit = GENERATE(as<std::string>{}, "kv_lora_rank", "groups", "inv_freq", "scale", "qk_rope_head_dim");
  Json& layer = config["mla"]["layers"][1];
  if (edit == "inv_freq") layer[edit].erase(0);
  else if (edit == "scale") layer[edit] = "big";
  else layer[edit] = layer[edit].get<int64_t>() + 1;
  fs::remove(folder / "model/config.json");
  std::ofstream(folder / "model/config.json") << config.dump();

  CHECK_THROWS_AS(load_decoder(*Checkpoint::open(folder / "model"), at::kCPU, at::kFloat), CheckpointError);
}

TEST_CASE("a checkpoint that is missing, or lacks a tensor, is named in the error", "[model][errors]") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(Checkpoint::open(folder / "nothing"), Catch::Contains("nothing"));
  fs::create_directories(folder / "empty");
  CHECK_THROWS_AS(Checkpoint::open(folder / "empty"), CheckpointError);
  saved_and_read(tiny_decoder(), folder / "model");
  CHECK_THROWS_WITH(Checkpoint::open(folder / "model")->load("model.none.weight", at::kFloat), Catch::Contains("model.none.weight"));
}
