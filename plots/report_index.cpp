// The first page: what the store holds, the plot, the runs, the figures.
#include <map>
#include <set>

#include "core/base/json.h"
#include "plots/base64.h"
#include "plots/report_parts.h"
#include "plots/series_style.h"
#include "results/query_table.h"
#include "results/table_cells.h"
#include "results/table_markup.h"

namespace mla {
namespace {

// One row per run. A run over tasks has no perplexity: the first of its metrics stands for it.
constexpr const char* kRuns = R"(SELECT w.run_id, w.status, w.model, w.label, w.corpus, w.protocol, w.dtype, w.kv_values,
  100.0 * (1.0 - 1.0 * w.kv_values / w.kv_values_original), w.ppl_original, w.ppl_mla, w.kld_mean, 100.0 * w.same_top_share,
  CASE WHEN w.ppl_original IS NULL AND w.ppl_mla IS NULL THEN
    (SELECT name || ' ' || printf('%.4f', value) FROM metric WHERE run_id = w.run_id AND stage IN ('mla', 'original') ORDER BY stage, name LIMIT 1) END,
  w.seconds, w.started_at, w.tags, CASE w.ad_hoc_limit WHEN 1 THEN 'ad hoc cut' END
FROM runs_wide w ORDER BY w.run_id)";

struct Head {
  Column column;
  bool filters;  // offered as a choice above the table
};

const std::vector<Head> kHeads{{{"Run"}, false},      {{"Status"}, true},       {{"Model"}, true},      {{"Method"}, false},        {{"Corpus"}, true},
                               {{"Protocol"}, true},  {{"dtype"}, true},        {{"KV values"}, false}, {{"Saved %", 1}, false},    {{"Original ppl", 3}, false},
                               {{"MLA ppl", 3}, false}, {{"KL nats", 4}, false}, {{"Same top %", 1}, false}, {{"Score"}, false},    {{"Seconds", 1}, false},
                               {{"Started"}, false},  {{"Tags"}, false},        {{"Note"}, false}};

constexpr const char* kPoints = R"(SELECT r.id, r.model, r.corpus, m.protocol, r.method, r.label, r.dtype, r.kv_values, m.value, m.std_error, o.value, k.value, k.std_error, q.std_error * o.value
FROM latest_run r JOIN metric m ON m.run_id = r.id AND m.stage = 'mla' AND m.name = 'perplexity'
  LEFT JOIN metric o ON o.run_id = r.id AND o.stage = 'original' AND o.name = 'perplexity' AND o.protocol = m.protocol
  LEFT JOIN metric k ON k.run_id = r.id AND k.stage = 'mla' AND k.name = 'kld_mean' AND k.protocol = m.protocol
  LEFT JOIN metric q ON q.run_id = r.id AND q.stage = 'mla' AND q.name = 'ppl_ratio' AND q.protocol = m.protocol
WHERE r.kv_values IS NOT NULL ORDER BY r.model, r.corpus, m.protocol, r.method, r.kv_values, m.value, r.id)";

Json number_at(const Statement& row, int column) { return row.is_null(column) ? Json() : Json(row.real(column)); }

// What the script draws, in a form that cannot end the element it stands in.
std::string plot_data(const Store& store) {
  Json data{{"groups", Json::array()}, {"points", Json::array()}, {"styles", Json::object()}};
  std::map<std::vector<std::string>, std::size_t> groups;
  Statement row(store.database(), kPoints);
  while (row.step()) {
    const std::vector<std::string> group{row.text(1), row.text(2), row.text(3)};
    const auto [place, is_new] = groups.emplace(group, groups.size());
    if (is_new) data["groups"].push_back(group);
    const SeriesStyle style = style_of(row.text(4));
    data["styles"][row.text(4)] = {{"color", style.color}, {"mark", style.mark}};
    data["points"].push_back({{"id", row.integer(0)}, {"group", place->second}, {"method", row.text(4)}, {"label", row.text(5)}, {"dtype", row.text(6)}, {"kv", row.integer(7)},
                              {"ppl", row.real(8)}, {"ppl_error", row.is_null(13) ? number_at(row, 9) : number_at(row, 13)}, {"original", number_at(row, 10)},
                              {"kld", number_at(row, 11)}, {"kld_error", number_at(row, 12)}});
  }
  const std::string text = data.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string safe;
  for (const char c : text) safe += c == '<' ? std::string("\\u003c") : std::string(1, c);
  return safe;
}

// A number sorts by its whole value, not by the digits that are shown.
std::string run_cell(const Head& head, const std::vector<Cell>& row, std::size_t c) {
  const std::string shown = html_escaped(rounded_cell(head.column, row, c));
  if (c == 0) return "<td class=\"n\" data-v=\"" + shown + "\"><a href=\"runs/" + shown + ".html\">" + shown + "</a></td>";
  if (std::holds_alternative<std::string>(row[c])) return (c == 1 ? "<td class=\"" + shown + "\">" : "<td>") + shown + "</td>";
  if (std::holds_alternative<std::monostate>(row[c])) return head.column.digits >= 0 || head.column.name == "KV values" ? "<td class=\"n\" data-v=\"\"></td>" : "<td></td>";
  const auto* real = std::get_if<double>(&row[c]);
  return "<td class=\"n\" data-v=\"" + (real != nullptr ? Json(*real).dump() : shown) + "\">" + shown + "</td>";
}

std::string runs_table(const Store& store, std::map<std::string, int64_t>& statuses, std::set<std::string>& models) {
  std::string html = "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Runs\"><table id=\"runs\">\n<thead><tr>";
  for (const Head& head : kHeads) html += std::string("<th scope=\"col\"") + (head.column.digits >= 0 ? " class=\"n\"" : "") + "><button type=\"button\">" + head.column.name + "</button></th>";
  html += "</tr></thead>\n<tbody>\n";
  Statement read(store.database(), kRuns);
  while (read.step()) {
    std::vector<Cell> row;
    for (int column = 0; column < read.columns(); ++column) row.push_back(cell_of(read, column));
    ++statuses[read.text(1)];
    models.insert(read.text(2));
    html += "<tr>";
    for (std::size_t c = 0; c < kHeads.size(); ++c) html += run_cell(kHeads[c], row, c);
    html += "</tr>\n";
  }
  return html + "</tbody>\n</table></div>\n";
}

std::string controls() {
  std::string html = "<div class=\"controls\"><label>Search<input id=\"search\" type=\"search\" placeholder=\"words in a row\"></label>";
  for (std::size_t c = 0; c < kHeads.size(); ++c)
    if (kHeads[c].filters) html += "<label>" + kHeads[c].column.name + "<select data-filter=\"" + std::to_string(c) + "\"><option value=\"\">all</option></select></label>";
  return html + "<button type=\"button\" id=\"clear\">Clear</button><span id=\"count\" role=\"status\"></span></div>\n";
}

std::string facts(const std::map<std::string, int64_t>& statuses, const std::set<std::string>& models) {
  std::string html = "<dl class=\"facts\">";
  const auto fact = [&](const std::string& name, const std::string& value) { html += "<div><dt>" + html_escaped(name) + "</dt><dd>" + html_escaped(value) + "</dd></div>"; };
  int64_t all = 0;
  for (const auto& [status, count] : statuses) all += count;
  fact("runs", std::to_string(all));
  for (const auto& [status, count] : statuses) fact(status, std::to_string(count));
  std::string names;
  for (const std::string& model : models) names += (names.empty() ? "" : ", ") + model;
  fact(models.size() == 1 ? "model" : "models", names);
  return html + "</dl>\n";
}

constexpr const char* kPlot =
    "<h2 id=\"quality\">Quality against cache</h2>\n<div class=\"controls\"><label>Model, text, protocol<select id=\"group\"></select></label>"
    "<label>Measure<select id=\"measure\"><option value=\"ppl\">perplexity</option><option value=\"kld\">KL divergence</option></select></label></div>\n"
    "<div class=\"plot\" id=\"plot\"><div class=\"tip\" id=\"tip\" role=\"status\" hidden></div></div>\n<p id=\"none\" hidden>No finished conversion has this measure.</p>\n"
    "<ul class=\"legend\" id=\"legend\"></ul>\n<p class=\"quiet\">A point is a run and leads to its page. Dotted: the Pareto front. Dashed: the original. Bars: one standard error, "
    "of the difference from the original where it was scored on the same windows.</p>\n";

}  // namespace

std::string report_index(const Store& store, const std::vector<ReportFigure>& figures) {
  std::map<std::string, int64_t> statuses;
  std::set<std::string> models;
  const std::string table = runs_table(store, statuses, models);
  std::string body = "<a class=\"skip\" href=\"#all-runs\">To the runs</a>\n<h1>mlaforge report: " + html_escaped(store.database().path().filename().string()) + "</h1>\n";
  body += facts(statuses, models) + kPlot + "<h2 id=\"all-runs\">Runs</h2>\n" + controls() + table;
  if (!figures.empty()) body += "<h2>Figures</h2>\n<div class=\"figures\">\n";
  for (const ReportFigure& figure : figures)
    body += "<figure><img loading=\"lazy\" alt=\"" + html_escaped(figure.name) + "\" src=\"data:image/svg+xml;base64," + base64(figure.svg) + "\"><figcaption>" + html_escaped(figure.name) +
            "</figcaption></figure>\n";
  if (!figures.empty()) body += "</div>\n";
  body += "<script type=\"application/json\" id=\"data\">" + plot_data(store) + "</script>\n";
  return report_page("mlaforge report", body, report_js());
}

}  // namespace mla
