#include "results/run_diff.h"

#include <map>

namespace mla {
namespace {

using Texts = std::map<std::string, std::string>;

std::string plain(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, Json::error_handler_t::replace); }

// {"a": {"b": 1}} -> a.b: 1
void flatten(const Json& value, const std::string& name, Texts& into) {
  if (!value.is_object() || value.empty()) {
    into[name] = plain(value);
    return;
  }
  for (const auto& [key, inner] : value.items()) flatten(inner, name.empty() ? key : name + '.' + key, into);
}

Texts settings_of(const RunRecord& record) {
  Texts texts{{"model", record.model},   {"corpus", record.corpus}, {"protocol", record.protocol}, {"dtype", record.dtype},
              {"device", record.device}, {"threads", std::to_string(record.threads)}, {"seed", std::to_string(record.seed)},
              {"git_commit", record.git_commit + (record.git_dirty ? " (dirty)" : "")}, {"host", record.host}};
  flatten(record.config, "", texts);
  flatten(record.stage_versions, "stage_versions", texts);
  flatten(record.library_versions, "library", texts);
  for (const InputHash& input : record.inputs) texts["input." + input.role] = input.sha256.substr(0, 12) + ' ' + input.path;
  return texts;
}

void add_settings(const Texts& first, const Texts& second, Table& table) {
  Texts all = first;
  all.insert(second.begin(), second.end());
  const auto cell = [](const Texts& texts, const std::string& name) { return texts.count(name) != 0 ? Cell(texts.at(name)) : Cell(); };
  for (const auto& [name, text] : all) {
    const Cell a = cell(first, name), b = cell(second, name);
    if (a != b) table.rows.push_back({std::string("setting"), name, a, b, Cell()});
  }
}

void add_numbers(const char* what, const std::map<std::string, double>& first, const std::map<std::string, double>& second, Table& table) {
  std::map<std::string, double> all = first;
  all.insert(second.begin(), second.end());
  for (const auto& [name, value] : all) {
    const auto a = first.find(name), b = second.find(name);
    const bool both = a != first.end() && b != second.end();
    table.rows.push_back({std::string(what), name, a == first.end() ? Cell() : Cell(a->second), b == second.end() ? Cell() : Cell(b->second),
                          both ? Cell(b->second - a->second) : Cell()});
  }
}

std::map<std::string, double> numbers_of(const std::vector<Metric>& metrics) {
  std::map<std::string, double> numbers;
  for (const Metric& metric : metrics) numbers[metric.stage + ' ' + metric.name + " (" + metric.protocol + ')'] = metric.value;
  return numbers;
}

std::map<std::string, double> seconds_of(const RunRecord& record) {
  std::map<std::string, double> seconds;
  for (const StageTime& time : record.times) seconds[time.stage] = time.seconds;
  return seconds;
}

}  // namespace

Table diff_runs(const Store& store, int64_t first, int64_t second) {
  const auto [a, metrics_a] = store.read_run(first);
  const auto [b, metrics_b] = store.read_run(second);
  Table table{"diff", {{"What"}, {"Name"}, {"Run " + std::to_string(first)}, {"Run " + std::to_string(second)}, {"Difference"}}, {}};
  add_settings(settings_of(a), settings_of(b), table);
  std::map<std::string, double> cache_a, cache_b;
  if (a.kv_values) cache_a["kv_values"] = static_cast<double>(*a.kv_values);
  if (b.kv_values) cache_b["kv_values"] = static_cast<double>(*b.kv_values);
  add_numbers("cache", cache_a, cache_b, table);
  add_numbers("metric", numbers_of(metrics_a), numbers_of(metrics_b), table);
  add_numbers("seconds", seconds_of(a), seconds_of(b), table);
  return table;
}

}  // namespace mla
