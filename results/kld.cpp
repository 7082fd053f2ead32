// Runs beside each other by their divergence from the original, in the order of llama-perplexity's block.
#include <map>

#include "results/query_table.h"

namespace mla {
namespace {

struct Statistic {
  const char* metric;
  const char* title;
  int digits;
  double factor = 1;       // 100: as a percentage
  bool has_error = false;
};

// PPL ratio and Same top have the errors that the store's metrics of these names have: over windows and over tokens.
constexpr Statistic kStatistics[] = {
    {"ppl_q", "PPL(Q)", 4, 1, true}, {"ppl_base", "PPL(base)", 4, 1, true}, {"ln_ppl_correlation", "Cor %", 2, 100}, {"ln_ppl_ratio", "ln ratio", 5, 1, true},
    {"ppl_ratio", "PPL ratio", 4, 1, true}, {"ppl_difference", "PPL difference", 4, 1, true}, {"kld_mean", "Mean KLD", 5, 1, true}, {"kld_max", "Max KLD", 4},
    {"kld_p99.9", "99.9% KLD", 4}, {"kld_p99", "99% KLD", 4}, {"kld_p95", "95% KLD", 4}, {"kld_p90", "90% KLD", 4}, {"kld_median", "Median KLD", 5},
    {"kld_p10", "10% KLD", 6}, {"kld_p5", "5% KLD", 6}, {"kld_p1", "1% KLD", 6}, {"kld_p0.1", "0.1% KLD", 6}, {"kld_min", "Min KLD", 6},
    {"dp_mean", "Mean Δp %", 3, 100, true}, {"dp_max", "Max Δp %", 2, 100}, {"dp_p99.9", "99.9% Δp %", 2, 100}, {"dp_p99", "99% Δp %", 2, 100},
    {"dp_p95", "95% Δp %", 2, 100}, {"dp_p90", "90% Δp %", 2, 100}, {"dp_p75", "75% Δp %", 2, 100}, {"dp_median", "Median Δp %", 3, 100},
    {"dp_p25", "25% Δp %", 2, 100}, {"dp_p10", "10% Δp %", 2, 100}, {"dp_p5", "5% Δp %", 2, 100}, {"dp_p1", "1% Δp %", 2, 100},
    {"dp_p0.1", "0.1% Δp %", 2, 100}, {"dp_min", "Min Δp %", 2, 100}, {"dp_rms", "RMS Δp %", 3, 100, true}, {"same_top_share", "Same top %", 2, 100, true}};

constexpr std::size_t kHead = 4, kCount = std::size(kStatistics), kShown = kHead + kCount + 2;
enum Hidden : std::size_t { kCorpus = kHead, kProtocol, kRun, kStage };  // of the query's rows

// One read of a run's metrics fills all its columns: a look-up for each would be twice as slow on a store of a million.
void fill(Statement& read, const std::vector<Cell>& head, const Table& table, std::vector<Cell>& row) {
  static const std::map<std::string, std::size_t, std::less<>> places = [] {
    std::map<std::string, std::size_t, std::less<>> all;
    for (std::size_t i = 0; i < kCount; ++i) all[kStatistics[i].metric] = i;
    return all;
  }();
  read.bind(1, std::get<int64_t>(head[kRun])).bind(2, std::get<std::string>(head[kStage])).bind(3, std::get<std::string>(head[kProtocol]));
  while (read.step()) {
    const auto place = places.find(read.text(0));
    if (place == places.end()) continue;
    const Statistic& statistic = kStatistics[place->second];
    row[kHead + place->second] = statistic.factor * read.real(1);
    const int error = table.columns[kHead + place->second].error_cell;
    if (error >= 0 && !read.is_null(2)) row[static_cast<std::size_t>(error)] = statistic.factor * read.real(2);
  }
  read.reset();
}

Table shape(const Store& store, const Table& rows) {
  Table table{rows.name, {rows.columns.begin(), rows.columns.begin() + kHead}, {}};
  std::size_t cells = kShown;
  for (const Statistic& statistic : kStatistics) table.columns.push_back({statistic.title, statistic.digits, statistic.has_error ? static_cast<int>(cells++) : -1});
  table.columns.push_back({"Corpus"});
  table.columns.push_back({"Protocol"});
  Statement read(store.database(), "SELECT name, value, std_error FROM metric WHERE run_id = ?1 AND stage = ?2 AND protocol = ?3");
  for (const std::vector<Cell>& head : rows.rows) {
    std::vector<Cell>& row = table.rows.emplace_back(head.begin(), head.begin() + kHead);
    row.resize(cells);
    row[kHead + kCount] = head[kCorpus];
    row[kHead + kCount + 1] = head[kProtocol];
    fill(read, head, table, row);
  }
  return table;
}

}  // namespace

const NamedQuery kld_query{
    "kld",
    R"(SELECT r.model, r.label || CASE k.stage WHEN 'mla' THEN '' ELSE ' (partial RoPE)' END, r.dtype, CASE k.stage WHEN 'mla' THEN r.kv_values END,
  r.corpus, k.protocol, r.id, k.stage
FROM run r JOIN metric k ON k.run_id = r.id AND k.stage IN ('mla', 'partial_rope') AND k.name = 'kld_mean'
WHERE r.status = 'done' AND r.ad_hoc_limit = 0
  AND r.id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done')
  AND (?1 IS NULL OR r.corpus = ?1) AND (?2 IS NULL OR r.model = ?2) AND (?3 IS NULL OR k.protocol = ?3)
ORDER BY r.corpus, k.protocol, r.model, r.kv_values DESC, r.label, k.stage, r.dtype, r.identity)",
    {{"Model"}, {"Method"}, {"dtype"}, {"KV values"}},
    {"Corpus", "Protocol"},
    shape};

}  // namespace mla
