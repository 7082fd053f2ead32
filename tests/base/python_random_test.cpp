// PythonRandom draws what CPython draws (tests/oracle/random_goldens.py).
#include "core/base/python_random.h"

#include <numeric>
#include <string>

#include "core/base/error.h"
#include "core/base/json.h"
#include "core/base/sha256.h"
#include "tests/support/catch.h"
#include "tests/support/paths.h"

using namespace mla;
using namespace mla::test;

static const Json& goldens() {
  static const Json json = read_json_file(golden("python_random.json"));
  return json;
}

// As json.dumps writes a list.
static std::string dumped(const std::vector<std::size_t>& items) {
  std::string text = "[";
  for (const std::size_t item : items) text += (text.size() > 1 ? ", " : "") + std::to_string(item);
  return text + "]";
}

TEST_CASE("every kind of draw gives CPython's number, one after the other", "[random][golden]") {
  REQUIRE(goldens()["cases"].size() == 10);
  for (const Json& golden : goldens()["cases"]) {
    INFO("seed " << golden["seed"]);
    PythonRandom source(std::stoull(golden["seed"].get<std::string>()));
    for (int i = 0; i < 392; ++i) source.random();
    for (const Json& value : golden["random"]) CHECK(source.random() == value.get<double>());
    for (const Json& draw : golden["bits"]) CHECK(std::to_string(source.getrandbits(draw[0])) == draw[1].get<std::string>());
    for (const Json& draw : golden["below"]) CHECK(source.below(draw[0]) == draw[1].get<uint64_t>());
    for (const Json& draw : golden["samples"]) {
      INFO("sample of " << draw[1] << " from " << draw[0]);
      CHECK(sha256_hex(dumped(source.sample(draw[0], draw[1]))).substr(0, 16) == draw[2].get<std::string>());
    }
    std::vector<int> items(100);
    std::iota(items.begin(), items.end(), 0);
    source.shuffle(items);
    CHECK(items == golden["shuffle"].get<std::vector<int>>());
    CHECK(source.random() == golden["after"].get<double>());
  }
}

TEST_CASE("the shots of fifty items in a row are those of random.Random(1234)", "[random][golden]") {
  PythonRandom source(1234);
  REQUIRE(goldens()["gsm8k_shots"].size() == 50);
  for (const Json& shots : goldens()["gsm8k_shots"]) CHECK(source.sample(7473, 5) == shots.get<std::vector<std::size_t>>());
}

TEST_CASE("a sample larger than its population, an empty range and 65 bits are refused", "[random][errors]") {
  PythonRandom source(1);
  CHECK_THROWS_AS(source.sample(4, 5), ConfigError);
  CHECK_THROWS_AS(source.below(0), ConfigError);
  CHECK_THROWS_AS(source.getrandbits(65), ConfigError);
}
