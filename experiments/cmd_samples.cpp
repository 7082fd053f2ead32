// The answers that runs stored, item by item: shown, or two runs compared.
#include <cstdio>
#include <iostream>

#include "core/base/error.h"
#include "experiments/commands.h"
#include "results/paired.h"
#include "results/store.h"

namespace mla {
namespace {

struct SampleFlags {
  int64_t run_id = 0, against = 0, limit = 0;
  std::string store = "runs.db", task, stage, format = "text";
};

Json row_json(const AnswerRow& row) {
  return {{"task", row.task}, {"stage", row.stage}, {"position", row.position}, {"item", row.item}, {"prompt_sha256", row.prompt_sha256}, {"prediction", row.prediction},
          {"gold", row.gold}, {"score", row.score}, {"tokens", row.tokens}, {"detail", Json::parse(row.detail)}};
}

// One line: what does not fit is cut at a whole character.
std::string short_text(const std::string& text, std::size_t width) {
  std::string line;
  for (const char c : text) line += c == '\n' || c == '\t' || c == '\r' ? ' ' : c;
  if (line.size() <= width) return line;
  std::size_t end = width - 3;
  while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0) == 0x80) --end;
  return line.substr(0, end) + "...";
}

std::vector<AnswerRow> rows_of(const Store& store, const SampleFlags& flags, int64_t run) {
  std::vector<AnswerRow> rows = store.answers(run, flags.task, flags.stage);
  if (rows.empty())
    fail<ConfigError>("samples", "wanted a run with answers", flags.task.empty() ? "" : " to " + flags.task, ", got run ", run, " without; `mlaforge eval --tasks` makes them");
  return rows;
}

void show(const Store& store, const SampleFlags& flags) {
  std::vector<AnswerRow> rows = rows_of(store, flags, flags.run_id);
  if (flags.limit > 0 && rows.size() > static_cast<std::size_t>(flags.limit)) rows.resize(static_cast<std::size_t>(flags.limit));
  if (flags.format == "json") {
    for (const AnswerRow& row : rows) std::cout << row_json(row).dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
    return;
  }
  std::printf("%-24s %-9s %6s %8s  %-40s  %s\n", "Task", "Stage", "Item", "Score", "Prediction", "Gold");
  for (const AnswerRow& row : rows)
    std::printf("%-24s %-9s %6s %8.4f  %-40s  %s\n", row.task.c_str(), row.stage.c_str(), row.item.c_str(), row.score, short_text(row.prediction, 40).c_str(),
                short_text(row.gold, 40).c_str());
}

void compare(const Store& store, const SampleFlags& flags) {
  const std::vector<PairedComparison> results = compare_answers(rows_of(store, flags, flags.run_id), rows_of(store, flags, flags.against));
  Json all = Json::array();
  for (const PairedComparison& result : results) {
    if (flags.format == "json") {
      Json flipped = Json::array();
      for (const auto& [first, second] : result.flipped) flipped.push_back({{"item", first.item}, {"first", first.score}, {"second", second.score}});
      all.push_back({{"task", result.task}, {"items", result.items}, {"first", result.first}, {"second", result.second}, {"difference", result.difference},
                     {"low", result.low}, {"high", result.high}, {"flipped", flipped}});
      continue;
    }
    std::printf("%s, %lld items: %.4f, %.4f, difference %+.4f, 95 %% interval [%+.4f, %+.4f], %zu scores differ\n", result.task.c_str(), static_cast<long long>(result.items),
                result.first, result.second, result.difference, result.low, result.high, result.flipped.size());
    std::size_t printed = 0;
    for (const auto& [first, second] : result.flipped) {
      if (flags.limit > 0 && printed++ == static_cast<std::size_t>(flags.limit)) break;
      std::printf("  item %s: %.4f (%s), then %.4f (%s)\n", first.item.c_str(), first.score, short_text(first.prediction, 30).c_str(), second.score,
                  short_text(second.prediction, 30).c_str());
    }
  }
  if (flags.format == "json") std::cout << all.dump(2) << '\n';
}

}  // namespace

void add_samples_command(CLI::App& app) {
  auto flags = std::make_shared<SampleFlags>();
  CLI::App* command = app.add_subcommand("samples", "Show a run's answers to tasks item by item, or compare two runs over the same items");
  command->add_option("run", flags->run_id, "Id of a run, as `mlaforge runs` lists it")->required()->check(CLI::PositiveNumber);
  command->add_option("--against", flags->against, "Second run: difference of the scores with a bootstrap interval, and the items that flipped")->check(CLI::PositiveNumber);
  command->add_option("--task", flags->task, "Only this task [all]");
  command->add_option("--stage", flags->stage, "Only this stage: original, mla [all]");
  command->add_option("--limit", flags->limit, "Print the first N items, or the first N flips [all]")->check(CLI::NonNegativeNumber);
  command->add_option("--store", flags->store, "Run database [runs.db]");
  add_format_flag(*command, flags->format, {"text", "json"});
  add_examples(*command,
               "  mlaforge samples 3 --task arc_easy --limit 20 --store runs.db\n"
               "  mlaforge samples 3 --against 7 --store runs.db\n"
               "  mlaforge samples 3 --format json --store runs.db\n");
  command->callback([flags] {
    const Store store = Store::open_read_only(flags->store);
    if (flags->against > 0) compare(store, *flags);
    else show(store, *flags);
  });
}

}  // namespace mla
