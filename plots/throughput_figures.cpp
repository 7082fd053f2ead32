// Speed, largest batch and cache of one sequence against the context, a line per model and memory.
#include <algorithm>
#include <map>

#include "plots/chart.h"
#include "plots/figure_rows.h"
#include "plots/format.h"

namespace mla {
namespace {

struct Drawn {
  const char* column;  // of the query
  const char* y_title;
  const char* bars;    // what they are; empty: none
};

// What tells rows of one model apart, where not all have the same.
class Names {
 public:
  explicit Names(const FigureRows& rows) : rows_(rows), dtypes_(rows.distinct("dtype").size() > 1), devices_(rows.distinct("Device").size() > 1) {
    std::set<double> threads, sequences;
    for (std::size_t row = 0; row < rows.size(); ++row) threads.insert(rows.number(row, "Threads")), sequences.insert(rows.number(row, "Sequences"));
    threads_ = threads.size() > 1;
    sequences_ = sequences.size() > 1;
  }
  // "mla 512+64, 24 GiB"; under a memory the batch follows from it.
  std::string of(std::size_t row) const {
    std::string name = rows_.text(row, "Method");
    const std::optional<double> memory = rows_.optional_number(row, "Memory GiB");
    if (memory) name += format(", %.6g GiB", *memory);
    else if (sequences_) name += format(", %.6g sequences", rows_.number(row, "Sequences"));
    if (dtypes_) name += ", " + rows_.text(row, "dtype");
    if (devices_) name += ", " + rows_.text(row, "Device");
    if (threads_) name += format(", %.6g threads", rows_.number(row, "Threads"));
    return name;
  }

 private:
  const FigureRows& rows_;
  bool dtypes_, devices_, threads_ = false, sequences_ = false;
};

// Rows come by memory, then by context. A batch of none, or a speed where nothing fitted, is no point.
FigureText draw(const Store& store, const Table& table, const std::string& name, const Drawn& drawn) {
  const FigureRows rows(table, name, "no finished benchmark; `mlaforge bench` makes one");
  const std::string model = rows.only("Model", "model", "--model"), protocol = rows.only("Protocol", "test", "--protocol");
  const Names names(rows);
  std::map<std::string, std::size_t> places;
  std::map<std::string, int> seen;  // series of each method
  Chart chart{.title = model + ", " + protocol, .x_title = "Context, tokens (log scale)", .y_title = drawn.y_title};
  chart.x_logarithmic = true;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const std::optional<double> value = rows.optional_number(row, drawn.column);
    if (!value || *value <= 0) continue;
    const std::string title = names.of(row), &method = rows.text(row, "Method");
    const auto [place, is_new] = places.emplace(title, chart.series.size());
    if (is_new) chart.series.push_back({title, style_of(method, seen[method]++), {}});
    const double error = *drawn.bars != 0 ? rows.error(row, drawn.column).value_or(0) : 0;
    chart.series[place->second].points.push_back({.x = rows.number(row, "Context"), .y = *value, .y_error = error});
  }
  if (chart.series.empty()) FigureRows({}, name, "nothing of these benchmarks fitted into its memory");
  const bool barred = std::any_of(chart.series.begin(), chart.series.end(), [](const ChartSeries& s) { return std::any_of(s.points.begin(), s.points.end(), [](const ChartPoint& p) { return p.y_error > 0; }); });
  chart.caption = {barred ? drawn.bars : "", commits_of(store, model, "", protocol)};
  return write_chart(chart, name);
}

FigureText make_speed(const Store& store, const Table& table, const std::string& name) {
  return draw(store, table, name, {"Tokens/s", "Tokens per second (transmla: of the output)", "Bars: one standard error of the mean over repetitions"});
}
FigureText make_batch(const Store& store, const Table& table, const std::string& name) { return draw(store, table, name, {"Fits", "Largest batch that fits, sequences", ""}); }
FigureText make_cache(const Store& store, const Table& table, const std::string& name) {
  return draw(store, table, name, {"Cache MiB per sequence", "Cache of one sequence, MiB", ""});
}

}  // namespace

const NamedFigure throughput_vs_context_figure{"throughput_vs_context", "throughput", make_speed};
const NamedFigure batch_vs_context_figure{"batch_vs_context", "throughput", make_batch};
const NamedFigure cache_vs_context_figure{"cache_vs_context", "throughput", make_cache};

}  // namespace mla
