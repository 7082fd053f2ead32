// mlaforge compare, as a user walks it: convert, compare, read the result.
#include <fstream>

#include "core/base/json.h"
#include "tests/support/catch.h"
#include "tests/support/command.h"

using namespace mla;
using namespace mla::test;
using Words = std::vector<std::string>;
using Catch::Matchers::Contains;

namespace {

Finished convert(const TemporaryFolder& folder, const std::string& out, Words options) {
  Words words{"convert", "--model", smollm2().string(), "--out", out};
  words.insert(words.end(), options.begin(), options.end());
  return mlaforge(folder.path(), words);
}

}  // namespace

TEST_CASE("compare refuses a missing folder, a missing argument and too few tokens", "[cli][compare]") {
  const TemporaryFolder folder;
  const auto says = [&](const Words& words, int code, const char* text) {
    const Finished finished = mlaforge(folder.path(), words);
    CHECK(finished.code == code);
    CHECK(finished.out.empty());
    CHECK_THAT(finished.err, Contains(text));
  };
  says({"compare", "nothing", "neither"}, 3, "nothing");
  says({"compare", "nothing"}, 2, "converted");
  says({"compare", "a", "b", "--tokens", "1"}, 2, "--tokens");
  says({"compare", "a", "b", "--prompt", "x", "--prompt-file", "y"}, 2, "got both");
}

TEST_CASE("compare measures speed, texts, logits and caches of a rebuilt and of a latent conversion", "[cli][compare]") {
  if (smollm2().empty()) return mla::skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  const TemporaryFolder folder;
  REQUIRE(convert(folder, "whole", {"--method", "transmla_converter"}).code == 0);  // full rank: the same model in another form
  REQUIRE(convert(folder, "cut", {"--method", "svd", "--form", "latent", "--split", "high", "--rope-dim", "32", "--kv-lora-rank", "96"}).code == 0);

  const Finished same = mlaforge(folder.path(), {"compare", smollm2().string(), "whole", "--tokens", "6", "--format", "json"});
  const Finished other = mlaforge(folder.path(), {"compare", smollm2().string(), "cut", "--tokens", "6", "--prompt", "The capital of France is", "--format", "json"});

  REQUIRE(same.code == 0);
  REQUIRE(other.code == 0);
  const Json whole = Json::parse(same.out), cut = Json::parse(other.out);
  CHECK(whole["texts_agree"] == true);
  CHECK(whole["first_difference"].is_null());
  CHECK(whole["original"]["ids"] == whole["converted"]["ids"]);
  CHECK(whole["logits"]["max_relative_difference"].get<double>() < 1e-3);
  CHECK(whole["logits"]["same_top"].get<double>() == Approx(1));
  CHECK(whole["original"]["ids"].size() == 6);
  CHECK(whole["original"]["tokens_per_second"].get<double>() > 0);
  CHECK(whole["converted"]["kv_values_per_token_per_layer"] == 384);
  CHECK(cut["texts_agree"] == false);  // a weight SVD to a quarter destroys this model
  CHECK(cut["original"]["ids"][cut["first_difference"].get<std::size_t>()] != cut["converted"]["ids"][cut["first_difference"].get<std::size_t>()]);
  CHECK(cut["converted"]["kv_values_per_token_per_layer"] == 192);
  CHECK(cut["logits"]["mean_kl_nats"].get<double>() > 0.1);

  // Another vocabulary cannot be compared token by token.
  Json tokenizer = read_json_file(folder / "whole/tokenizer.json");
  tokenizer["model"]["merges"].erase(tokenizer["model"]["merges"].size() - 1);
  std::ofstream(folder / "whole/tokenizer.json") << tokenizer.dump();
  const Finished differing = mlaforge(folder.path(), {"compare", smollm2().string(), "whole", "--tokens", "2"});
  CHECK(differing.code == 2);
  CHECK_THAT(differing.err, Contains("one tokenizer"));
}
