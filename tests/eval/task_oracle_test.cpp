// What a model is asked equals what lm-evaluation-harness and LongBench ask, byte for byte (tests/oracle/tasks_goldens.py).
#include <fstream>

#include "core/base/sha256.h"
#include "eval/task_items.h"
#include "eval/truncate.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

namespace {

const Json& goldens() {
  static const Json json = read_json_file(golden("tasks.json"));
  return json;
}

std::string digest(const std::string& text, std::size_t digits) { return sha256_hex(text).substr(0, digits); }

// Null, with the reason printed, where the model was not fetched.
std::shared_ptr<const Tokenizer> real_tokenizer() {
  static const std::shared_ptr<const Tokenizer> tokenizer = smollm2().empty() ? nullptr : Tokenizer::load(smollm2());
  if (!tokenizer) skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  return tokenizer;
}

// Number of equal stretches of `digits`, so that a failure says how many items differ.
std::size_t equal_items(const std::string& found, const std::string& wanted, std::size_t digits) {
  std::size_t equal = 0;
  for (std::size_t i = 0; i + digits <= std::min(found.size(), wanted.size()); i += digits)
    equal += found.compare(i, digits, wanted, i, digits) == 0;
  return equal;
}

void write_rows(const fs::path& path, const Json& rows) {
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  for (const Json& row : rows) file << row.dump() << '\n';
}

std::string ids_text(const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) text += (text.empty() ? "" : " ") + std::to_string(id);
  return text;
}

}  // namespace

TEST_CASE("requests and golds of 200 items each equal lm-evaluation-harness's", "[tasks][golden]") {
  const std::string name = GENERATE("arc_easy", "arc_challenge", "piqa", "openbookqa", "winogrande", "social_iqa");
  const TaskSpec spec = find_task(name);
  const fs::path root = data_root_with(spec.data.file);
  if (root.empty()) return skip("the data root lacks " + spec.data.file);

  const TaskItems items = build_items(spec, root, {.limit = 200});

  std::string hashes, golds;
  for (const ChoiceItem& item : items.choices) {
    hashes += digest(item_text(item), 16);
    golds += std::to_string(item.gold);
  }
  const Json& golden = goldens()["choices"][name];
  INFO(name);
  REQUIRE(hashes.size() == 200 * 16);
  CHECK(equal_items(hashes, golden["hashes"], 16) == 200);
  CHECK(golds == golden["golds"].get<std::string>());
  CHECK(items.warnings.empty());
}

TEST_CASE("requests over made-up rows equal lm-evaluation-harness's where the data set is not at hand", "[tasks][golden]") {
  const std::string name = GENERATE("hellaswag", "commonsense_qa", "boolq", "mmlu", "mmlu_pro");
  const Json& golden = goldens()["made_up"][name];
  const TaskSpec spec = find_task(name);
  const TemporaryFolder root;
  write_rows(root / spec.data.file, golden["rows"]);
  if (!golden["pool"].empty()) write_rows(root / spec.few_shot.pool.file, golden["pool"]);

  const TaskItems items = build_items(spec, root.path(), {.shots = golden["shots"].get<int64_t>()});

  std::string hashes;
  for (const ChoiceItem& item : items.choices) hashes += digest(item_text(item), 16);
  for (const GenerationItem& item : items.generations) hashes += digest(item.prompt, 16);
  INFO(name);
  REQUIRE(hashes.size() == golden["rows"].size() * 16);
  CHECK(equal_items(hashes, golden["hashes"], 16) == golden["rows"].size());
}

TEST_CASE("200 five-shot prompts of GSM8K equal lm-evaluation-harness's", "[tasks][golden]") {
  const fs::path root = data_root_with("gsm8k/train.jsonl");
  if (root.empty()) return skip("the data root lacks gsm8k");

  const TaskItems items = build_items(find_task("gsm8k"), root, {.limit = 200});

  std::string hashes;
  for (const GenerationItem& item : items.generations) hashes += digest(item.prompt, 16);
  REQUIRE(hashes.size() == 200 * 16);
  CHECK(equal_items(hashes, goldens()["gsm8k"], 16) == 200);
}

TEST_CASE("LongBench's prompts equal the benchmark's before and after both truncations", "[tasks][golden]") {
  const std::string dataset = GENERATE("multi_news", "multifieldqa_zh", "passage_retrieval_zh");
  const fs::path root = data_root_with("longbench/" + dataset + ".jsonl");
  if (root.empty()) return skip("the data root lacks longbench/" + dataset);
  const auto tokenizer = real_tokenizer();
  if (!tokenizer) return;
  const TaskSpec spec = find_task("longbench/" + dataset);

  for (const auto& [how, wanted] : goldens()["longbench"][dataset].items()) {
    const bool tokens = how.starts_with("tokens/");
    const int64_t length = how == "whole" ? 0 : std::stoll(how.substr(how.find('/') + 1));
    std::string hashes;
    for (const GenerationItem& item : build_items(spec, root, {.context_chars = tokens ? 8 * length : 0}).generations) {
      if (tokens) hashes += digest(ids_text(truncate_tokens(*tokenizer, item.prompt, {.max_length = length - item.max_new_tokens})), 8);
      else hashes += digest(length == 0 ? item.prompt : truncate_longbench(*tokenizer, item.prompt, {.max_length = length}), 8);
    }
    INFO(dataset << " " << how);
    CHECK(equal_items(hashes, wanted, 8) == 200);
    CHECK(hashes == wanted.get<std::string>());
  }
}
