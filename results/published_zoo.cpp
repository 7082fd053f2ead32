#include "results/published_zoo.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <regex>
#include <set>

#include "results/published.h"

namespace mla {
namespace {

// The latest finished run of each identity that has perplexities under `protocol`.
constexpr const char* kRuns = R"(SELECT r.id, r.model, r.method, r.label, r.dtype, r.kv_values, r.corpus, s.protocol, r.config,
  (SELECT value FROM metric WHERE run_id = r.id AND stage = 'original' AND name = 'perplexity' AND protocol = s.protocol),
  (SELECT value FROM metric WHERE run_id = r.id AND stage = 'partial_rope' AND name = 'perplexity' AND protocol = s.protocol),
  (SELECT value FROM metric WHERE run_id = r.id AND stage = 'mla' AND name = 'perplexity' AND protocol = s.protocol)
FROM run r JOIN metric s ON s.run_id = r.id AND s.name = 'perplexity' AND (s.stage = 'mla' OR (s.stage = 'original' AND NOT EXISTS
  (SELECT 1 FROM metric WHERE run_id = r.id AND stage = 'mla' AND name = 'perplexity' AND protocol = s.protocol)))
WHERE r.status = 'done' AND r.ad_hoc_limit = 0
  AND r.id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done')
  AND (?1 IS NULL OR r.corpus = ?1) AND (?2 IS NULL OR r.model = ?2) AND (?3 IS NULL OR s.protocol = ?3)
ORDER BY r.corpus, s.protocol, r.model, r.kv_values DESC, r.label, r.dtype, r.id)";

constexpr std::size_t kCorpus = 14, kProtocol = 15;  // columns of the table

struct OwnRun {
  int64_t id = 0;
  std::string model, key, method, label, dtype, corpus, protocol, calibration;
  Cell kv_values;
  Json options;
  std::map<std::string, double> perplexity;  // by stage
};

const std::regex& quantisation() {
  static const std::regex pattern("[.-]I?Q[0-9]+_[0-9A-Z_]+$", std::regex::icase);
  return pattern;
}

const std::set<std::string>& published_models() {
  static const std::set<std::string> keys = [] {
    std::set<std::string> all;
    for (const PublishedNumber& number : published_numbers()) all.insert(model_key(number.model));
    return all;
  }();
  return keys;
}

OwnRun read_run(const Statement& row) {
  OwnRun run{.id = row.integer(0), .model = row.text(1), .key = model_key(row.text(1)), .method = row.text(2), .label = row.text(3), .dtype = row.text(4),
             .corpus = row.text(6), .protocol = row.text(7)};
  if (!row.is_null(5)) run.kv_values = row.integer(5);
  const Json config = published_models().count(run.key) != 0 ? Json::parse(row.text(8), nullptr, false) : Json();  // someone else's store may hold anything
  if (config.is_object() && config.contains("options")) run.options = config.at("options");
  if (config.is_object() && config.contains("calibration") && config.at("calibration").is_object() && config.at("calibration").contains("dataset"))
    run.calibration = config.at("calibration").at("dataset").is_string() ? config.at("calibration").at("dataset").get<std::string>() : "";
  const std::pair<int, const char*> stages[] = {{9, "original"}, {10, "partial_rope"}, {11, "mla"}};
  for (const auto& [column, stage] : stages)
    if (!row.is_null(column)) run.perplexity[stage] = row.real(column);
  return run;
}

std::vector<OwnRun> read_runs(const Store& store, const QueryParams& params) {
  Statement row(store.database(), kRuns);
  bind_query_params(row, params);
  std::vector<OwnRun> runs;
  while (row.step()) runs.push_back(read_run(row));
  return runs;
}

bool is_option(const std::string& name) {
  static const std::set<std::string> names{"kv_lora_rank", "qk_mqa_dim", "freqfold", "rank", "metric", "allocator"};
  return names.count(name) != 0;
}

// What a run's options do not name is the recipe's default: of these, equal ranks in all layers.
bool same_option(const std::string& name, const Json& value, const Json& options) {
  const auto found = options.find(name);
  return found != options.end() ? *found == value : name == "allocator" && value == "uniform";
}

bool same_options(const PublishedNumber& published, const OwnRun& run) {
  for (const auto& [name, value] : published.settings.items())
    if (is_option(name) && (!run.options.is_object() || !same_option(name, value, run.options))) return false;
  return true;
}

// Of runs of the same model. Texts are of one name up to how they were prepared: wikitext2 and wikitext2-tok.
bool repeats(const OwnRun& run, const PublishedNumber& published) {
  if (run.perplexity.count(published.stage) == 0) return false;
  if (run.corpus != published.dataset && run.corpus.rfind(published.dataset + '-', 0) != 0) return false;
  return published.stage == "original" || (run.method == published.recipe && same_options(published, run));
}

std::string mismatch(const OwnRun& run, const PublishedNumber& published) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : "; ") + part; };
  if (run.corpus != published.corpus.value_or(published.dataset)) add("text " + run.corpus);
  if (!published.protocol) add("published protocol not stated");
  else if (run.protocol != *published.protocol) add("published protocol " + *published.protocol);
  const std::string calibration = published.settings.value("calibration", std::string());
  if (published.stage != "original" && !calibration.empty() && run.calibration != calibration) add("published calibration " + calibration);
  if (std::regex_search(run.model, quantisation())) add("quantised weights");
  return text;
}

// Originals of one model, text, protocol and dtype are one number, however many runs scored it: the latest stands for all.
std::string original_key(const OwnRun& run) { return run.model + '\n' + run.corpus + '\n' + run.protocol + '\n' + run.dtype; }

std::vector<Cell> published_cells(const PublishedNumber& n) {
  return {n.paper, n.place, n.model, n.method, n.stage, n.kv_values ? Cell(*n.kv_values) : Cell(), n.settings.empty() ? Cell() : Cell(n.settings.dump()), n.value};
}

std::vector<Cell> row_of(const PublishedNumber& published, const OwnRun& run) {
  std::vector<Cell> cells = published_cells(published);
  const double ours = run.perplexity.at(published.stage);
  const std::string marked = mismatch(run, published);
  for (Cell cell : {Cell(ours), Cell(ours - published.value), Cell(100 * (ours / published.value - 1)), marked.empty() ? Cell() : Cell(marked), Cell(run.dtype), Cell(run.id),
                    Cell(run.corpus), Cell(run.protocol)})
    cells.push_back(std::move(cell));
  return cells;
}

void add_published(const std::vector<OwnRun>& runs, const QueryParams& params, Table& table, std::set<int64_t>& repeated) {
  std::map<std::string, std::vector<const OwnRun*>> by_model;
  for (const OwnRun& run : runs) by_model[run.key].push_back(&run);
  for (const PublishedNumber& published : published_numbers()) {
    const auto own = by_model.find(model_key(published.model));
    if (published.metric != "perplexity" || published.trained || own == by_model.end()) continue;
    std::map<std::string, const OwnRun*> latest;  // by original_key, or by run
    for (const OwnRun* run : own->second)
      if (repeats(*run, published)) latest[original_key(*run) + (published.stage == "original" ? "" : '\n' + std::to_string(run->id))] = run;
    for (const auto& [key, run] : latest) {
      table.rows.push_back(row_of(published, *run));
      if (published.stage != "original") repeated.insert(run->id);
    }
    if (!latest.empty() || params.count("corpus") != 0 || params.count("protocol") != 0) continue;
    std::vector<Cell>& row = table.rows.emplace_back(published_cells(published));
    row.resize(table.columns.size());
    row[kCorpus] = published.corpus.value_or(published.dataset);
    row[kProtocol] = published.protocol.value_or("protocol not stated");
  }
}

void add_own(const std::vector<OwnRun>& runs, Table& table, const std::set<int64_t>& repeated) {
  for (const OwnRun& run : runs) {
    if (repeated.count(run.id) != 0 || run.perplexity.count("mla") == 0) continue;
    table.rows.push_back({Cell(), Cell(), run.model, run.label, std::string("mla"), run.kv_values, Cell(), Cell(), run.perplexity.at("mla"), Cell(), Cell(), Cell(), run.dtype, run.id,
                          run.corpus, run.protocol});
  }
}

}  // namespace

std::string model_key(std::string_view name) {
  const std::string bare = std::regex_replace(std::string(name), quantisation(), "");
  std::string key;
  for (const char c : bare)
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) key += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (key.rfind("meta", 0) == 0) key.erase(0, 4);
  if (key.size() > 2 && key.ends_with("hf")) key.erase(key.size() - 2);
  return key;
}

Table published_zoo(const Store& store, const QueryParams& params) {
  Table table{"zoo",
              {{"Paper"}, {"Place"}, {"Model"}, {"Method"}, {"Stage"}, {"KV values"}, {"Settings"}, {"Published", 4}, {"Ours", 4}, {"Difference", 4}, {"Difference %", 2}, {"Mismatch"},
               {"dtype"}, {"Run"}, {"Corpus"}, {"Protocol"}},
              {}};
  const std::vector<OwnRun> runs = read_runs(store, params);
  std::set<int64_t> repeated;
  add_published(runs, params, table, repeated);
  add_own(runs, table, repeated);
  narrow_to_method(table, params);
  table.separate = {kCorpus, kProtocol};
  return table;
}

}  // namespace mla
