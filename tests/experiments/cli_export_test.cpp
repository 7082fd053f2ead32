// Folders for other programs, and questions in a chat template, as a user asks for them.
#include <fstream>

#include "core/base/json.h"
#include "tests/support/catch.h"
#include "tests/support/command.h"
#include "tests/support/no_model.h"

using namespace mla;
using namespace mla::test;
using Words = std::vector<std::string>;
using Catch::Matchers::Contains;

namespace {

void write_text(const fs::path& path) {
  std::ofstream out(path);
  for (int i = 0; i < 60; ++i) out << "On day " << i << " the ship sailed on, and the crew counted " << 3 * i << " birds above the water.\n";
}

}  // namespace

TEST_CASE("convert --for transformers writes stock DeepSeek files, reads them back and says what they lost", "[cli][export]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  write_text(folder / "text.txt");

  const Finished finished = mlaforge(folder.path(), {"convert", "--model", smollm2().string(), "--cal-dataset", "text.txt", "--cal-nsamples", "2", "--cal-max-seqlen", "64", "--method",
                                                     "transmla", "--freqfold", "4", "--kv-lora-rank", "63", "--recalibrate", "false", "--for", "transformers", "--out", "hf"});

  REQUIRE(finished.code == 0);
  CHECK_THAT(finished.out, Contains("read back and checked"));
  const Json record = read_json_file(folder / "hf/mla_conversion.json"), config = read_json_file(folder / "hf/config.json");
  CHECK(record["loads_in"] == Json{"transformers"});
  CHECK(record["parity"]["kl_nats"].get<double>() <= 1e-7);
  CHECK(config["kv_lora_rank"] == 64);
  CHECK(config["mla_export"] == "hf-only");
  const Json tokenizer = read_json_file(folder / "hf/tokenizer_config.json");
  CHECK(tokenizer["eos_token"] == "<|im_end|>");
  CHECK_THAT(tokenizer["chat_template"].get<std::string>(), Contains("<|im_start|>"));
}

TEST_CASE("a target that cannot hold a method's result is refused with the reason, and no folder is left", "[cli][export]") {
  if (no_model()) return;
  const TemporaryFolder folder;

  const Finished finished = mlaforge(folder.path(), {"convert", "--model", smollm2().string(), "--method", "mha2mla", "--rope-selection", "high", "--rope-dim", "32", "--svd", "none",
                                                     "--for", "transformers", "--out", "hf"});

  CHECK(finished.code == 2);
  CHECK_THAT(finished.err, Contains("transformers cannot hold this model") && Contains("rope key per KV head"));
  for (const auto& entry : fs::directory_iterator(folder.path())) CHECK(entry.path().filename().string().rfind("hf", 0) == std::string::npos);
}

TEST_CASE("generate --chat asks in the model's own template and stops at the end of the turn", "[cli][chat]") {
  if (no_model()) return;
  const TemporaryFolder folder;
  const Finished asked = mlaforge(folder.path(), {"generate", "--model", smollm2().string(), "--chat", "--prompt", "What is the capital of France?", "-n", "24", "--format", "json"});
  const Finished by_hand = mlaforge(folder.path(), {"generate", "--model", smollm2().string(), "--parse-special", "-n", "24", "--format", "json", "--prompt",
                                                    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
                                                    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"});
  const Finished unknown = mlaforge(folder.path(), {"generate", "--model", smollm2().string(), "--template", "chatmel", "--prompt", "x"});

  REQUIRE(asked.code == 0);
  REQUIRE(by_hand.code == 0);
  const Json answer = Json::parse(asked.out);
  CHECK(answer["chat_template"]["name"] == "smollm2");
  CHECK(answer["prompt_ids"] == Json::parse(by_hand.out)["prompt_ids"]);
  CHECK(answer["text"] == Json::parse(by_hand.out)["text"]);
  CHECK_THAT(answer["text"].get<std::string>(), Contains("Paris"));
  CHECK(unknown.code == 2);
  CHECK_THAT(unknown.err, Contains("did you mean 'chatml'"));
}
