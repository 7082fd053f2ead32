// Perplexities of the original Python programs (tests/goldens/peers_smollm2.json), row by row. The first case is the quick
// subset; "[.all]" (scripts/reproduce) checks every row.
#include <cstdio>

#include "tests/support/catch.h"

#include "tests/support/smollm2.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;

namespace {

struct Protocol {
  int64_t window, count;
};

// "small(16x512)" or "2048(4 of 152)"
Protocol protocol_of(const std::string& text) {
  long long a = 0, b = 0;
  if (std::sscanf(text.c_str(), "small(%lldx%lld)", &a, &b) == 2) return {b, a};
  if (std::sscanf(text.c_str(), "%lld(%lld of", &a, &b) == 2) return {a, b};
  FAIL("unknown protocol " << text);
  return {};
}

// The originals' option names to ours. A row without balance_kv_ratio ran without balancing; a row of the partial-RoPE
// stage alone has no rank, and any will do.
Json options_of(const Json& row) {
  const Json& config = row.at("config");
  if (row.at("peer") == "TransMLA")
    return {{"freqfold", config.at("freqfold")}, {"collapse", config.at("collapse")}, {"qk_mqa_dim", config.at("qk_mqa_dim")},
            {"kv_lora_rank", config.value("kv_lora_rank", 256)}, {"balance_kv_ratio", config.value("balance_kv_ratio", Json("none"))}};
  Json options{{"rope_selection", config.at("partial_rope_version")}, {"rope_dim", config.at("rope_dim")}, {"svd", config.at("svd")}};
  if (config.at("svd") != "none") options["low_rank"] = config.at("low_rank");
  if (config.contains("uniform_start_point")) options["uniform_start"] = config.at("uniform_start_point");
  return options;
}

void check_perplexity(const Json& wanted, double found, const std::string& what) {
  if (wanted.is_null()) return;
  const double reference = wanted.get<double>(), error = found / reference - 1;
  std::printf("%-28s reference %12.6f  ours %12.6f  %+.2e\n", what.c_str(), reference, found, error);
  std::fflush(stdout);
  INFO(what);
  CHECK(std::abs(error) < kPerplexityRow);
}

void check_row(const RealModel& real, const Json& row) {
  const std::string id = row.at("id");
  const Protocol protocol = protocol_of(row.at("protocol"));
  const Windows windows = cut_text(wikitext2("test.txt"), *real.tokenizer, {.window = protocol.window, .max_windows = protocol.count});
  DecoderModel original(real.decoder);
  if (row.at("peer") == "original") {
    check_perplexity(row.at("ppl_original"), score_windows({{"original", &original}}, windows, {})[0].perplexity, id + " original");
    return;
  }
  const Conversion conversion = convert_real(real, row.at("peer") == "TransMLA" ? "transmla" : "mha2mla", options_of(row));
  DecoderModel partial(*conversion.partial_rope), converted(conversion.converted);
  std::vector<StageModel> stages{{"original", &original}, {"partial_rope", &partial}};
  if (!row.at("ppl_mla").is_null()) stages.push_back({"mla", &converted});
  const std::vector<StageScore> scores = score_windows(stages, windows, {});
  check_perplexity(row.at("ppl_original"), scores[0].perplexity, id + " original");
  check_perplexity(row.at("ppl_partial_rope"), scores[1].perplexity, id + " partial RoPE");
  if (scores.size() > 2) check_perplexity(row.at("ppl_mla"), scores[2].perplexity, id + " MLA");
  if (!row.at("ppl_mla").is_null()) CHECK(conversion.converted.cache_values_per_token_per_layer() == row.at("kv_values_per_token_per_layer").get<double>());
}

bool ready(const RealModel* real) {
  if (real != nullptr && !wikitext2("test.txt").empty()) return true;
  if (real != nullptr) skip("wikitext-2/test.txt is not here; set MLAFORGE_DATA to the data root");
  return false;
}

}  // namespace

TEST_CASE("a quick subset of the original programs' perplexities is matched", "[eval][golden]") {
  const RealModel* real = real_model();
  if (!ready(real)) return;
  for (const Json& row : read_json_file(golden("peers_smollm2.json")))
    for (const char* quick : {"mha2mla-59", "transmla-56"})
      if (row.at("id") == quick) check_row(*real, row);
}

TEST_CASE("every reproducible row of the original programs is matched", "[.all]") {
  const RealModel* real = real_model();
  if (!ready(real)) return;
  const Json rows = read_json_file(golden("peers_smollm2.json"));
  REQUIRE(rows.size() == 20);
  for (const Json& row : rows) check_row(*real, row);
}

// Perplexities that the original program gave on 2 windows of 512 (shared/reference/peers_smollm2.json, transmla-converter-50 to 54).
TEST_CASE("transmla-converter's perplexities are matched at every latent_dim", "[.all]") {
  const RealModel* real = real_model();
  if (!ready(real)) return;
  const Windows windows = cut_text(wikitext2("test.txt"), *real->tokenizer, {.window = 512, .max_windows = 2});
  for (const auto& [latent_dim, perplexity] : {std::pair{192, 20.464774119395635}, {128, 15120.814052319176}, {96, 28212.18529170221}, {64, 73047.2820181656}}) {
    const Conversion conversion = convert_real(*real, "transmla_converter", {{"latent_dim", latent_dim}});
    DecoderModel converted(conversion.converted);
    check_perplexity(perplexity, score_windows({{"mla", &converted}}, windows, {})[0].perplexity, "transmla-converter " + std::to_string(latent_dim));
    CHECK(conversion.converted.cache_values_per_token_per_layer() == 2.0 * latent_dim);
  }
}
