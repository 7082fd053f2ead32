#include "experiments/sweep/sweep_file.h"

#include "core/base/error.h"
#include "experiments/sweep/sweep_values.h"
#include "tests/support/catch.h"

using namespace mla;
using Catch::Matchers::Contains;

namespace {

int64_t number(const std::string& expression) {
  const auto lookup = [](const std::string& name) -> ExpressionValue {
    if (name == "head_dim") return int64_t{64};
    if (name == "svd") return std::string("joint");
    fail<ConfigError>("test", "unknown ", name);
  };
  return std::get<int64_t>(evaluate(expression, lookup));
}

const SweepContext kContext{{"model", "method", "freqfold", "kv_lora_rank", "qk_mqa_dim", "svd", "no_stats_cache"},
                            [](const std::string&) { return std::map<std::string, int64_t>{{"head_dim", 64}, {"num_kv_heads", 3}}; },
                            {}};

SweepFile expand(const char* text) { return expand_sweep(parse_json(text, "test", {.allow_comments = true}), kContext, "test.json"); }

}  // namespace

TEST_CASE("expressions compute what they say", "[sweep]") {
  CHECK(number("head_dim / 2") == 32);
  CHECK(number("1 + 2 * 3 - 4") == 3);
  CHECK(number("(1 + 2) * -3") == -9);
  CHECK(number("7 // 2") == 3);
  CHECK(number("-7 // 2") == -4);
  CHECK(number("-7 % 2") == 1);
  CHECK(number("head_dim >= 64 and svd == 'joint'") == 1);
  CHECK(number("not head_dim == 64 or svd != 'split'") == 1);
  CHECK(number("10 - 3 - 2") == 5);
  CHECK(number("64 / 4 / 2") == 8);
}

TEST_CASE("expressions refuse what has no value, and say where", "[sweep][errors]") {
  CHECK_THROWS_WITH(number("head_dim / 3"), Contains("64 / 3 leaves a rest"));
  CHECK_THROWS_WITH(number("1 / (2 - 2)"), Contains("division by zero"));
  CHECK_THROWS_WITH(number("9223372036854775807 + 1"), Contains("64 bits"));
  CHECK_THROWS_WITH(number("(-9223372036854775807 - 1) // -1"), Contains("64 bits"));
  CHECK_THROWS_WITH(number("head_dim +"), Contains("got the end"));
  CHECK_THROWS_WITH(number("(head_dim"), Contains("')'"));
  CHECK_THROWS_WITH(number("head_dim 2"), Contains("at character 10"));
  CHECK_THROWS_WITH(number("svd + 1"), Contains("wanted a number"));
  CHECK_THROWS_WITH(number("svd < 'x'"), Contains("wanted numbers"));
  CHECK_THROWS_WITH(number(std::string(200, '(') + "1"), Contains("levels"));
  CHECK_THROWS_WITH(number("1.2.3"), Contains("wanted a number"));
  CHECK_THROWS_AS(number(""), ConfigError);
}

TEST_CASE("numbers read back as they were written", "[sweep]") {
  CHECK(text_of_value(value_of_text("0.1")) == "0.1");
  CHECK(text_of_value(value_of_text("64")) == "64");
  CHECK(text_of_value(value_of_text("2-norm")) == "2-norm");
  CHECK(std::holds_alternative<std::string>(value_of_text("nan")));
  CHECK(std::holds_alternative<std::string>(value_of_text("")));
}

TEST_CASE("values are lists, ranges, steps and factors", "[sweep]") {
  using Values = std::vector<std::string>;
  CHECK(sweep_values("1,2,8", "x") == Values{"1", "2", "8"});
  CHECK(sweep_values("1-4", "x") == Values{"1", "2", "3", "4"});
  CHECK(sweep_values("8-33+8", "x") == Values{"8", "16", "24", "32"});
  CHECK(sweep_values("1-20*2", "x") == Values{"1", "2", "4", "8", "16"});
  CHECK(sweep_values("1-2,7", "x") == Values{"1", "2", "7"});
  CHECK(sweep_values("2-norm", "x") == Values{"2-norm"});
  CHECK(sweep_values("2024-01-31", "x") == Values{"2024-01-31"});
  CHECK(sweep_values(Json::parse(R"(["a,b", "1-2", 0.5, true, null])"), "x") == Values{"a,b", "1", "2", "0.5", "true", ""});
  for (const char* bad : {"4-1", "1-4+0", "1-4*1", "0-4*2", "", "1,,2", "1,"}) CHECK_THROWS_AS(sweep_values(bad, "x"), ConfigError);
  CHECK_THROWS_WITH(sweep_values("1-1000000", "x"), Contains("10000"));
  CHECK_THROWS_AS(sweep_values(Json::array(), "x"), ConfigError);
  CHECK_THROWS_AS(sweep_values(Json::object(), "x"), ConfigError);
  CHECK(sweep_values("9223372036854775800-9223372036854775807+100", "x").size() == 1);
}

TEST_CASE("a sweep is the product of its grids without what they exclude", "[sweep]") {
  const SweepFile sweep = expand(R"({
    // comments are allowed
    "name": "small", "base": {"model": "m.gguf"},
    "grids": [
      {"method": "transmla", "freqfold": "1-4*2", "vars": {"share": [25, 50]},
       "derive": {"kv-lora-rank": "2 * num_kv_heads * head_dim * share // 100", "qk_mqa_dim": "head_dim / freqfold"},
       "exclude": [{"freqfold": 4, "share": 25}, "freqfold == 1 and share == 50"]},
      {"method": "mha2mla", "svd": ["joint", null]}, {"method": "mha2mla"}]})");

  REQUIRE(sweep.jobs.size() == 6);
  CHECK(sweep.excluded == 2);
  CHECK(sweep.repeated == 1);
  CHECK(sweep.jobs[0] == SweepFlags{{"freqfold", "1"}, {"kv_lora_rank", "96"}, {"method", "transmla"}, {"model", "m.gguf"}, {"qk_mqa_dim", "64"}});
  CHECK(sweep.jobs[3].at("kv_lora_rank") == "192");
  CHECK(sweep.jobs[5] == SweepFlags{{"method", "mha2mla"}, {"model", "m.gguf"}});
}

TEST_CASE("what a sweep file must not say is refused with place and advice", "[sweep][errors]") {
  CHECK_THROWS_WITH(expand(R"({"name": "x", "grids": [{"freqfolds": 1}]})"), Contains("grids[0]") && Contains("did you mean 'freqfold'"));
  CHECK_THROWS_WITH(expand(R"({"name": "x", "grid": []})"), Contains("did you mean 'grids'"));
  CHECK_THROWS_WITH(expand(R"({"grids": [{}]})"), Contains("'name'"));
  CHECK_THROWS_WITH(expand(R"({"name": "x", "grids": []})"), Contains("at least one"));
  CHECK_THROWS_WITH(expand(R"({"name": "x", "grids": [{"freqfold": 1, "exclude": ["freqfold == 1"]}]})"), Contains("got none"));
  CHECK_THROWS_WITH(expand(R"({"name": "x", "grids": [{"freqfold": 1, "derive": {"freqfold": "2"}}]})"), Contains("got both"));
  CHECK_THROWS_WITH(expand(R"({"name": "x", "grids": [{"model": "m", "derive": {"freqfold": "head_dims"}}]})"), Contains("did you mean 'head_dim'"));
  CHECK_THROWS_WITH(expand(R"({"name": "x", "grids": [{"exclude": [{"freqfolt": 1}]}]})"), Contains("did you mean 'freqfold'"));
  CHECK_THROWS_WITH(expand(R"({"name": "x", "grids": [{"vars": {"method": 1}}]})"), Contains("no flag"));
  CHECK_THROWS_WITH(expand(R"({"name": "x", "grids": [{"kv_lora_rank": "1-9999", "freqfold": "1-99"}]})"), Contains("100000"));
}

TEST_CASE("what --set says goes before the file", "[sweep]") {
  SweepContext context = kContext;
  context.overrides = {{"freqfold", "2,4"}, {"kv_lora_rank", "7"}};
  const Json file = parse_json(R"({"name": "x", "grids": [{"freqfold": 1, "derive": {"kv_lora_rank": "head_dim"}}]})", "test");
  const SweepFile sweep = expand_sweep(file, context, "x");
  REQUIRE(sweep.jobs.size() == 2);
  CHECK(sweep.jobs[1] == SweepFlags{{"freqfold", "4"}, {"kv_lora_rank", "7"}});

  context.overrides = {{"model", R"(["a,b", "c"])"}};
  const SweepFile list = expand_sweep(parse_json(R"({"name": "x", "grids": [{"freqfold": 1}]})", "test"), context, "x");
  REQUIRE(list.jobs.size() == 2);
  CHECK(list.jobs[0].at("model") == "a,b");
}

TEST_CASE("a job is a command line", "[sweep]") {
  const auto takes_value = [](const std::string& key) { return key != "no_stats_cache"; };
  CHECK(command_line({{"kv_lora_rank", "64"}, {"no_stats_cache", "true"}}, takes_value) == std::vector<std::string>{"--kv-lora-rank", "64", "--no-stats-cache"});
  CHECK(command_line({{"no_stats_cache", "false"}}, takes_value).empty());
  CHECK_THROWS_WITH(command_line({{"no_stats_cache", "3"}}, takes_value), Contains("true or false"));
}
