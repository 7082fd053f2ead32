// One run: what was run, where the numbers come from, the numbers, what they were averaged from.
#include <map>

#include "plots/report_parts.h"
#include "results/table_markup.h"

namespace mla {
namespace {

constexpr int64_t kAnswersShown = 100, kSamplesShown = 2000;

std::string plain(const Json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string pretty(const Json& value) { return "<pre>" + html_lines(value.dump(2, ' ', false, Json::error_handler_t::replace)) + "</pre>\n"; }

std::string cell(const std::string& text, bool number = false) { return (number ? "<td class=\"n\">" : "<td>") + html_escaped(text) + "</td>"; }

std::string table(const std::vector<std::string>& heads, const std::string& rows) {
  std::string html = "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"" + html_escaped(heads.front()) + "\"><table><thead><tr>";
  for (const std::string& head : heads) html += "<th scope=\"col\" class=\"plain\">" + head + "</th>";
  return html + "</tr></thead><tbody>\n" + rows + "</tbody></table></div>\n";
}

std::string summary(const Json& run) {
  std::string html = "<dl class=\"facts\">";
  const std::pair<const char*, const char*> shown[] = {{"status", "status"}, {"model", "model"}, {"corpus", "text or task"}, {"protocol", "protocol"}, {"dtype", "dtype"}, {"device", "device"},
                                                       {"threads", "threads"}, {"seed", "seed"}, {"kv_values", "cache values per token and layer"}, {"kv_values_original", "the original's"},
                                                       {"attempt", "attempt"}, {"peak_rss_mb", "peak memory, MB"}};
  for (const auto& [key, name] : shown)
    if (!run.at(key).is_null()) html += std::string("<div><dt>") + name + "</dt><dd>" + html_escaped(plain(run.at(key))) + "</dd></div>";
  return html + "</dl>\n";
}

std::string notes(const Json& run) {
  std::string html;
  if (run.at("ad_hoc_limit") == true) html += "<p>An ad hoc cut: this run stays out of tables and figures.</p>\n";
  if (!run.at("error").is_null()) html += "<p class=\"failed\">" + html_escaped(plain(run.at("error"))) + "</p>\n";
  for (const Json& warning : run.at("warnings")) html += "<p>Warning: " + html_escaped(plain(warning)) + "</p>\n";
  return html;
}

std::string metrics(const Json& run) {
  std::string rows;
  for (const Json& m : run.at("metrics"))
    rows += "<tr>" + cell(plain(m.at("stage"))) + cell(plain(m.at("name"))) + cell(plain(m.at("value")), true) + cell(plain(m.at("std_error")), true) + cell(plain(m.at("count")), true) +
            cell(plain(m.at("unit"))) + cell(plain(m.at("better"))) + cell(plain(m.at("protocol"))) + "</tr>\n";
  return rows.empty() ? "<p>None.</p>\n" : table({"Stage", "Metric", "Value", "Std. error", "Over", "Unit", "Better", "Protocol"}, rows);
}

std::string provenance(const Json& run) {
  std::string command, rows;
  for (const Json& word : run.at("argv")) command += (command.empty() ? "" : " ") + plain(word);
  const auto row = [&](const std::string& name, const std::string& value) { rows += "<tr>" + cell(name) + cell(value) + "</tr>\n"; };
  row("commit", plain(run.at("git_commit")) + (run.at("git_dirty") == true ? " with changes" : ""));
  row("command", command);
  row("host", plain(run.at("host")));
  row("started, finished", plain(run.at("started_at")) + ", " + plain(run.at("finished_at")));
  row("identity", plain(run.at("identity")));
  row("libraries", plain(run.at("library_versions")));
  row("versions of the stages", plain(run.at("stage_versions")));
  for (const Json& input : run.at("inputs")) row(plain(input.at("role")) + ", sha256", plain(input.at("sha256")) + "  " + plain(input.at("path")));
  return "<div class=\"wrap\">" + table({"What", "Value"}, rows) + "</div>";
}

std::string times(const Json& run) {
  std::string rows;
  for (const Json& t : run.at("times")) rows += "<tr>" + cell(plain(t.at("stage"))) + cell(plain(t.at("seconds")), true) + cell(plain(t.at("cpu_seconds")), true) + "</tr>\n";
  return rows.empty() ? "" : "<h2>Times</h2>\n" + table({"Stage", "Seconds", "CPU seconds"}, rows);
}

using Samples = std::map<std::string, std::map<std::string, std::vector<std::pair<double, double>>>>;  // metric, stage, (position, value)

Samples samples_of(const Store& store, int64_t id) {
  Statement read(store.database(), "SELECT metric, stage, position, value FROM sample WHERE run_id = ?1 AND instr(metric, '/') = 0 ORDER BY metric, stage, position");
  read.bind(1, id);
  Samples samples;
  while (read.step()) samples[read.text(0)][read.text(1)].emplace_back(static_cast<double>(read.integer(2)), read.real(3));
  return samples;
}

std::string layers(const Json& run, const Samples& samples) {
  std::string html;
  SparkLine values{"", {}};
  if (run.at("kv_values_by_layer").is_array())
    for (const Json& value : run.at("kv_values_by_layer"))
      if (value.is_number()) values.points.emplace_back(static_cast<double>(values.points.size()), value.get<double>());
  html += spark_chart("Cached values per token, by layer", {values});
  const auto energy = samples.find("kept_energy");
  if (energy != samples.end()) html += spark_chart("Kept share of energy, by layer", {{"", energy->second.begin()->second}});
  return html.empty() ? "" : "<h2>Layers</h2>\n<div class=\"figures\">\n" + html + "</div>\n";
}

std::string sample_section(const Samples& samples) {
  std::string html;
  for (const auto& [metric, stages] : samples) {
    if (metric == "kept_energy" || metric == "layer_rank") continue;
    std::vector<SparkLine> lines;
    std::string rows;
    int64_t count = 0;
    for (const auto& [stage, points] : stages) {
      lines.push_back({stage, points});
      for (const auto& [position, value] : points)
        if (++count <= kSamplesShown) rows += "<tr>" + cell(stage) + cell(plain(static_cast<int64_t>(position)), true) + cell(plain(value), true) + "</tr>\n";
    }
    html += spark_chart(metric + ", by position", lines);
    html += "<details><summary>" + html_escaped(metric) + ", " + std::to_string(count) + " values" + (count > kSamplesShown ? ", the first " + std::to_string(kSamplesShown) : "") + "</summary>\n" +
            table({"Stage", "Position", "Value"}, rows) + "</details>\n";
  }
  return html.empty() ? "" : "<h2>Samples</h2>\n" + html;
}

std::string answers(const Store& store, int64_t id) {
  Statement read(store.database(), "SELECT task, stage, item, prediction, gold, score FROM answer WHERE run_id = ?1 ORDER BY task, stage, position LIMIT ?2");
  read.bind(1, id).bind(2, kAnswersShown);
  std::string rows;
  while (read.step())
    rows += "<tr>" + cell(read.text(0)) + cell(read.text(1)) + cell(read.text(2)) + cell(read.text(3)) + cell(read.text(4)) + cell(plain(read.real(5)), true) + "</tr>\n";
  if (rows.empty()) return "";
  return "<h2>Answers</h2>\n<details><summary>The first " + std::to_string(kAnswersShown) + " at most; `mlaforge samples` has all</summary>\n<div class=\"wrap\">" +
         table({"Task", "Stage", "Item", "Prediction", "Gold", "Score"}, rows) + "</div></details>\n";
}

}  // namespace

std::string report_run_page(const Store& store, int64_t id) {
  const Json run = store.run_json(id);
  const Samples samples = samples_of(store, id);
  const std::string title = "Run " + std::to_string(id) + ": " + plain(run.at("label"));
  std::string body = "<p><a href=\"../index.html\">All runs</a></p>\n<h1>" + html_escaped(title) + "</h1>\n" + summary(run) + notes(run);
  body += "<h2>Metrics</h2>\n" + metrics(run) + layers(run, samples) + sample_section(samples) + answers(store, id);
  body += "<h2>Configuration</h2>\n" + pretty(run.at("config")) + "<h2>Provenance</h2>\n" + provenance(run) + times(run);
  return report_page(title, body);
}

}  // namespace mla
