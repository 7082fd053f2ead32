// Bad input: one line that says what to do, the documented exit code, nothing half-written.
#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "tests/support/catch.h"
#include "tests/support/command.h"

using namespace mla::test;
using Words = std::vector<std::string>;
using Catch::Matchers::Contains;

namespace {

// Entries that a command left behind, the captured output and the cache aside.
int left_behind(const TemporaryFolder& folder) {
  return static_cast<int>(std::count_if(fs::directory_iterator(folder.path()), {}, [](const auto& entry) { return entry.path().filename().string()[0] != '.'; }));
}

void write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

// Status lines aside, stderr holds exactly one line that begins with "error: ".
void check_error(const Finished& finished, int code, const std::string& says) {
  INFO(finished.err);
  CHECK(finished.code == code);
  CHECK(finished.out.empty());
  const std::size_t at = finished.err.find("error: ");
  REQUIRE(at != std::string::npos);
  CHECK_THAT(finished.err.substr(at), Contains(says));
  CHECK(std::count(finished.err.begin() + static_cast<std::ptrdiff_t>(at), finished.err.end(), '\n') == 1);
}

Words run_words(const std::string& model, Words more) {
  Words words{"run", "--model", model, "--corpus", "text.txt", "--window", "16"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace

TEST_CASE("a wrong command line ends with code 2 and the nearest right word", "[cli][errors]") {
  const TemporaryFolder folder;
  check_error(mlaforge(folder.path(), {"rnu"}), 2, "did you mean 'run'?");
  check_error(mlaforge(folder.path(), {"run", "--modle", "x"}), 2, "did you mean '--model'?");
  check_error(mlaforge(folder.path(), {"run", "--zzz", "x"}), 2, "unknown option '--zzz'");
  check_error(mlaforge(folder.path(), {"run"}), 2, "--model");
  check_error(mlaforge(folder.path(), {"table", "--format", "htlm"}), 2, "unknown format");
  check_error(mlaforge(folder.path(), {"methods", "transmal"}), 2, "did you mean 'transmla'?");
  CHECK(left_behind(folder) == 0);
}

TEST_CASE("what needs a store alone runs without the program that loads models, and the rest names it", "[cli][errors]") {
  const TemporaryFolder folder;
  const std::string built = std::getenv("MLAFORGE_BINARY");
  fs::create_directory(folder / "alone");
  fs::copy_file(built, folder / "alone/mlaforge");
  setenv("MLAFORGE_BINARY", (folder / "alone/mlaforge").c_str(), 1);
  check_error(mlaforge(folder.path(), {"--color", "never", "-q", "runs", "list"}), 4, "no run database");
  check_error(mlaforge(folder.path(), {"methods"}), 4, "mlaforge-models");
  check_error(mlaforge(folder.path(), {"--version"}), 4, "mlaforge-models");
  setenv("MLAFORGE_BINARY", built.c_str(), 1);
}

TEST_CASE("a file that is missing is named, with code 3", "[cli][errors]") {
  const TemporaryFolder folder;
  write(folder / "text.txt", "some words");
  check_error(mlaforge(folder.path(), run_words("none.gguf", {"--method", "mha2mla", "--rope-selection", "high"})), 3, "none.gguf");
  write(folder / "short.gguf", "GGUF");
  check_error(mlaforge(folder.path(), {"run", "--model", "short.gguf", "--method", "mha2mla", "--corpus", "nothing.txt"}), 3, "nothing.txt");
  check_error(mlaforge(folder.path(), run_words("short.gguf", {"--method", "mha2mla", "--rope-selection", "high"})), 3, "short.gguf");
  CHECK(left_behind(folder) == 2);  // no store
}

TEST_CASE("a method that does not exist, or lacks an option, is refused before the model is read", "[cli][errors]") {
  const TemporaryFolder folder;
  write(folder / "text.txt", "some words");
  write(folder / "model.gguf", "GGUF");
  check_error(mlaforge(folder.path(), run_words("model.gguf", {"--method", "transmal"})), 2, "did you mean 'transmla'?");
  check_error(mlaforge(folder.path(), run_words("model.gguf", {"--method", "mha2mla", "--freqfold", "4"})), 2, "has no option --freqfold");
  CHECK(left_behind(folder) == 2);
}

TEST_CASE("a store that cannot be one is refused with code 4", "[cli][errors]") {
  const TemporaryFolder folder;
  write(folder / "text.txt", "some words");
  write(folder / "model.gguf", "GGUF");
  const Words method{"--method", "mha2mla", "--rope-selection", "high", "--store"};
  const auto with_store = [&](const std::string& store) {
    Words words = run_words("model.gguf", method);
    words.push_back(store);
    return words;
  };
  check_error(mlaforge(folder.path(), with_store("no/such/folder/runs.db")), 4, "no/such/folder");
  check_error(mlaforge(folder.path(), with_store(".")), 4, "folder");
  check_error(mlaforge(folder.path(), {"table", "--store", "text.txt"}), 4, "not an SQLite database");
  check_error(mlaforge(folder.path(), {"table", "--store", "none.db"}), 4, "no run database");
  CHECK(left_behind(folder) == 2);
}

TEST_CASE("with a real model, impossible options and a short text are refused and leave no store", "[cli][errors]") {
  if (smollm2().empty()) return mla::skip("SmolLM2-135M-Instruct is not here; scripts/bootstrap fetches it");
  const TemporaryFolder folder;
  const std::string model = smollm2().string();
  write(folder / "text.txt", "Only a few words stand here, far less than one window of tokens.");
  write(folder / "ids.json", R"({"batches": [{"input_ids": [[1, 2, 999999]]}]})");
  const Words high{"--method", "mha2mla", "--rope-selection", "high", "--svd", "none"};
  Words long_window = run_words(model, high);
  std::replace(long_window.begin(), long_window.end(), std::string("16"), std::string("512"));

  check_error(mlaforge(folder.path(), long_window), 2, "at least one window of 512 tokens");
  write(folder / "text.txt", "The quick brown fox jumps over the lazy dog, and then it does so again, as often as it must be done.");
  check_error(mlaforge(folder.path(), run_words(model, {"--method", "transmla", "--freqfold", "4", "--kv-lora-rank", "400", "--calibration-ids", "ids.json"})), 2, "at most 320");
  check_error(mlaforge(folder.path(), run_words(model, {"--method", "transmla", "--freqfold", "4", "--kv-lora-rank", "64"})), 2, "--calibration-ids");
  check_error(mlaforge(folder.path(), run_words(model, {"--method", "transmla", "--freqfold", "4", "--kv-lora-rank", "64", "--calibration-ids", "ids.json"})), 3, "999999");
  check_error(mlaforge(folder.path(), run_words(model, {"--method", "mha2mla", "--rope-dim", "7"})), 2, "rope_dim");
  check_error(mlaforge(folder.path(), run_words(model, {"--method", "transmla", "--freqfold", "4", "--cache-values", "64", "--calibration-ids", "ids.json"})), 2, "at least 65");
  write(folder / "ids.json", R"({"batches": [{"input_ids": [[1, 2, 3]]}]})");
  check_error(mlaforge(folder.path(), run_words(model, {"--method", "transmla", "--cache-values", "96", "--calibration-ids", "ids.json"})), 2, "at least 2 batches");
  Words high_with_ranks = high;
  high_with_ranks.insert(high_with_ranks.end(), {"--save-qk-norms", "ranks.json"});
  check_error(mlaforge(folder.path(), run_words(model, high_with_ranks)), 2, "reads no norms");
  check_error(mlaforge(folder.path(), {"convert", "--model", model, "--method", "mha2mla", "--out", "."}), 2, "exists already");
  CHECK(left_behind(folder) == 2);
}
