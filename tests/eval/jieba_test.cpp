// Tokens equal those of the package jieba 0.42.1 (tests/oracle/scorers_goldens.py, jieba_goldens.py).
#include "eval/jieba/jieba.h"

#include <fstream>
#include <memory>
#include <sstream>

#include "core/base/error.h"
#include "eval/scorers/text.h"
#include "tests/eval/drawn_texts.h"
#include "tests/support/cache_folder.h"
#include "tests/support/catch.h"

using namespace mla;
using namespace mla::test;

namespace {

constexpr double kTokensEqual = 0.9999;  // the figure

const Jieba* segmenter() {
  static const fs::path folder = Jieba::find({source_dir() / ".cache"});
  static const std::unique_ptr<const Jieba> jieba = folder.empty() ? nullptr : std::make_unique<Jieba>(Jieba::load(folder));
  if (!jieba) skip("jieba's tables are not here; scripts/bootstrap fetches them");
  return jieba.get();
}

struct Cut {
  std::size_t tokens = 0;
  std::string lengths;  // "2,1,4"
};

Cut cut_of(const Jieba& jieba, std::u32string_view text) {
  Cut cut;
  for (const std::u32string_view token : jieba.cut(text)) {
    cut.lengths += (cut.tokens++ > 0 ? "," : "") + std::to_string(token.size());
  }
  return cut;
}

// context, input and answers of an item, in this order.
Cut cut_item(const Jieba& jieba, const Json& item) {
  Strings texts{item.at("context"), item.at("input")};
  for (const Json& answer : item.at("answers")) texts.push_back(answer);
  Cut all;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const Cut cut = cut_of(jieba, py::decode(texts[i]));
    all.tokens += cut.tokens;
    all.lengths += (i > 0 ? ";" : "") + cut.lengths;
  }
  return all;
}

fs::path longbench(const std::string& name) {
  const std::string given = environment("MLAFORGE_DATA");
  const fs::path root = given.empty() ? source_dir() / ".." / "shared" / "data" : fs::path(given);
  const fs::path file = root / "longbench" / name;
  return fs::is_regular_file(file) ? file : fs::path();
}

// Two words, and what is needed around them.
void write_tables(const TemporaryFolder& folder, const std::string& dictionary, const std::string& hmm) {
  std::ofstream(folder / "dict.txt") << dictionary;
  std::ofstream(folder / "hmm.txt") << hmm;
}

constexpr const char* kHmm = "start B -1\nstart S -1\ntrans B E -1\ntrans E B -1\nemit B 4e2d -1\nemit E 6587 -1\nemit M 6587 -9\nemit S 4e2d -9\n";

template <class Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "no error";
}

std::string load_message(const TemporaryFolder& folder) {
  return message_of([&] { Jieba::load(folder.path()); });
}

}  // namespace

TEST_CASE("all Chinese LongBench texts are cut where jieba cuts them", "[jieba][golden]") {
  const Jieba* jieba = segmenter();
  if (jieba == nullptr) return;
  const Json goldens = read_json_file(golden("jieba.json"));
  for (const std::string name : {"multifieldqa_zh", "passage_retrieval_zh"}) {
    const fs::path file = longbench(name + ".jsonl");
    if (file.empty()) return skip("LongBench's " + name + ".jsonl is not in the data root");
    INFO(file.string());
    REQUIRE(sha256_of_file(file) == goldens[name]["sha256"].get<std::string>());
    std::size_t item = 0, tokens = 0, equal = 0;
    std::ifstream lines(file, std::ios::binary);
    for (std::string line; std::getline(lines, line); ++item) {
      const Cut cut = cut_item(*jieba, parse_json(line, name));
      const std::size_t wanted = goldens[name]["tokens"][item];
      tokens += wanted;
      const std::string hash = goldens[name]["hashes"].get<std::string>().substr(item * 8, 8);
      if (cut.tokens == wanted && sha256_hex(cut.lengths).substr(0, 8) == hash) equal += wanted;  // an item differs as a whole
    }
    CHECK(item == 200);
    CHECK(tokens > 100000);
    INFO(equal << " of " << tokens << " tokens in equal items");
    CHECK(static_cast<double>(equal) >= kTokensEqual * static_cast<double>(tokens));
  }
}

TEST_CASE("drawn Chinese texts are cut where jieba cuts them", "[jieba][golden]") {
  const Jieba* jieba = segmenter();
  if (jieba == nullptr) return;
  const Json& golden = scorer_goldens()["texts"]["jieba"];
  PythonRandom numbers(golden["seed"].get<uint64_t>());
  const Strings fragments = scorer_goldens()["fragments"]["zh"];
  Strings made(5000);
  for (std::string& text : made) text = cut_of(*jieba, py::decode(draw_text(numbers, fragments, golden["most"]))).lengths;
  CHECK(block_hashes(made) == golden["blocks_of_500"].get<Strings>());
}

TEST_CASE("characters in any order are cut where jieba's hidden Markov model cuts them", "[jieba][golden]") {
  const Jieba* jieba = segmenter();
  if (jieba == nullptr) return;
  const Json& golden = scorer_goldens()["random_han"];
  PythonRandom numbers(golden["seed"].get<uint64_t>());
  Strings made(5000);
  for (std::string& text : made) {
    std::u32string points(numbers.below(30), U'\0');
    for (char32_t& c : points) c = static_cast<char32_t>(0x4E00 + numbers.below(0x5200));
    text = cut_of(*jieba, points).lengths;
  }
  CHECK(block_hashes(made) == golden["blocks_of_500"].get<Strings>());
}

TEST_CASE("tokens are the text without gaps", "[jieba]") {
  const TemporaryFolder folder;
  write_tables(folder, "\u4e2d\u6587 5 n\n\u6587 2 n\n", kHmm);
  const Jieba jieba = Jieba::load(folder.path());
  const std::u32string text = U"\u4e2d\u6587\u6587 ab-3.5%\r\n\u3002\u4e2d\u4e2d";
  std::u32string all;
  for (const std::u32string_view token : jieba.cut(text)) all += token;
  CHECK(all == text);
  CHECK(jieba.cut(text).front() == U"\u4e2d\u6587");
  CHECK(jieba.cut(U"").empty());
}

TEST_CASE("a bad line of the tables is named with its file and number", "[jieba][errors]") {
  const TemporaryFolder folder;
  write_tables(folder, "\u4e2d\u6587 5 n\n\u6587 many n\n", kHmm);
  CHECK(load_message(folder).find("dict.txt:2: wanted a word, a blank and its count") != std::string::npos);
  write_tables(folder, "\u4e2d\u6587 5 n\n", "start B -1\nemit Q 4e2d -1\n");
  CHECK(load_message(folder).find("hmm.txt:2: wanted start, trans or emit") != std::string::npos);
  write_tables(folder, "\u4e2d\u6587 5 n\n", "start B -1\n");
  CHECK(load_message(folder).find("wanted emit lines for all of B, E, M and S") != std::string::npos);
  write_tables(folder, "", kHmm);
  CHECK(load_message(folder).find("wanted words with counts, got none") != std::string::npos);
}

TEST_CASE("where the tables are missing the message says where they were looked for and how to get them", "[jieba][errors]") {
  const CacheFolder cache;
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());  // its .cache is looked at too
  const fs::path found = Jieba::find({folder.path()});
  const std::string message = message_of([&] { Jieba::load_found({folder.path()}); });
  fs::current_path(before);
  CHECK(found.empty());
  for (const std::string& part : {(folder / "jieba").string(), (cache.path() / "jieba").string(), std::string("scripts/bootstrap")})
    CHECK(message.find(part) != std::string::npos);
}
