#include "eval/task_items.h"

#include <algorithm>
#include <memory>

#include "core/base/error.h"
#include "core/base/sha256.h"
#include "eval/few_shot.h"
#include "eval/task_steps.h"
#include "eval/task_template.h"

namespace mla {
namespace {

std::string strip_ascii(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\n\r");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t\n\r") - first + 1);
}

// A number, a text of digits, or true and false.
int64_t whole_of(const Json& value, const std::string& name, const std::string& where) {
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  if (value.is_number_integer()) return value;
  const std::string text = value.is_string() ? strip_ascii(value) : "";
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos)
    fail<CheckpointError>("task", "wanted a whole number as '", name, "' at ", where, ", got ", value.dump().substr(0, 40));
  return std::stoll(text);
}

int64_t gold_of(const GoldRule& rule, const TaskRow& row, std::size_t choices) {
  const Json& value = column(row.columns, rule.field, row.where);
  if (rule.in.empty() && rule.labels.empty()) {
    const int64_t gold = whole_of(value, rule.field, row.where) - rule.first;
    if (gold < 0 || gold >= static_cast<int64_t>(choices))
      fail<CheckpointError>("task", "wanted '", rule.field, "' from ", rule.first, " to ", rule.first + static_cast<int64_t>(choices) - 1, " at ",
                            row.where, ", got ", value.dump());
    return gold;
  }
  const std::string label = strip_ascii(text_of(value, rule.field, row.where));
  const std::vector<std::string> labels = rule.in.empty() ? rule.labels : render_list("{" + rule.in + "}", row.columns, row.where);
  const auto found = std::find(labels.begin(), labels.end(), label);
  if (found == labels.end() || found - labels.begin() >= static_cast<std::ptrdiff_t>(choices))
    fail<CheckpointError>("task", "wanted '", rule.field, "' to name one of ", choices, " choices at ", row.where, ", got '", label, "'");
  return found - labels.begin();
}

// What lies before each item: the description, where it is no system message, and the solved examples.
class Prefixes {
 public:
  Prefixes(const TaskSpec& spec, const TaskRows& rows, const TaskRows* pool, int64_t count, bool chat) : spec_(spec), chat_(chat) {
    if (count > 0) draws_ = std::make_unique<FewShotDraws>(spec, rows, *pool, count);
  }
  std::string next(const TaskRow& item) {
    std::string text = chat_ ? "" : render(spec_.description, item.columns, item.where);
    if (draws_)
      for (const TaskRow* shot : draws_->next(item))
        text += render(spec_.few_shot.prompt, shot->columns, shot->where) + spec_.delimiter + target(*shot) + spec_.few_shot.delimiter;
    return text;
  }

 private:
  std::string target(const TaskRow& shot) const {
    if (!spec_.few_shot.target.empty()) return render(spec_.few_shot.target, shot.columns, shot.where);
    const std::vector<std::string> choices = render_list(spec_.choices, shot.columns, shot.where);
    return choices[static_cast<std::size_t>(gold_of(spec_.gold, shot, choices.size()))];
  }
  const TaskSpec& spec_;
  bool chat_;
  std::unique_ptr<FewShotDraws> draws_;
};

std::string id_of(const TaskSpec& spec, const TaskRow& row, std::size_t index) {
  return spec.id.empty() ? std::to_string(index) : text_of(column(row.columns, spec.id, row.where), spec.id, row.where);
}

void add_length(ChoiceItem& item, const TaskSpec& spec, const std::string& choice) {
  const bool blank = spec.protocol == "lighteval" && spec.delimiter.empty() && choice.starts_with(' ');
  item.choice_chars.push_back(code_points(choice) - (blank ? 1 : 0));
  item.choice_bytes.push_back(static_cast<int64_t>(choice.size()));
}

ChoiceItem choice_item(const TaskSpec& spec, const TaskRow& row, const std::string& prefix, const std::string& delimiter) {
  ChoiceItem item;
  if (spec.kind == TaskKind::partial_choice) {
    const std::string continuation = render(spec.continuation, row.columns, row.where);
    for (const std::string& context : render_list(spec.contexts, row.columns, row.where)) {
      item.requests.emplace_back(prefix + context, delimiter + continuation);
      add_length(item, spec, continuation);
    }
  } else {
    const std::string context = prefix + render(spec.prompt, row.columns, row.where);
    for (const std::string& choice : render_list(spec.choices, row.columns, row.where)) {
      item.requests.emplace_back(context, delimiter + choice);
      add_length(item, spec, choice);
    }
  }
  if (item.requests.size() < 2) fail<CheckpointError>("task", "wanted at least two choices at ", row.where, ", got ", item.requests.size());
  item.gold = gold_of(spec.gold, row, item.requests.size());
  return item;
}

// The first and the last half of `most` characters of a longer text.
std::string halves(const std::string& text, int64_t most) {
  if (most == 0 || code_points(text) <= most) return text;
  const auto at_character = [&](int64_t number) {
    std::size_t at = 0;
    for (int64_t seen = -1; at < text.size(); ++at)
      if ((static_cast<unsigned char>(text[at]) & 0xC0) != 0x80 && ++seen == number) break;
    return at;
  };
  return text.substr(0, at_character(most / 2)) + text.substr(at_character(code_points(text) - most / 2));
}

std::vector<std::string> texts_of(const TaskRow& row, const std::string& name) {
  if (column(row.columns, name, row.where).is_null()) return {};
  return render_list("{" + name + "}", row.columns, row.where);
}

class LongBenchPrompts {
 public:
  LongBenchPrompts(const TaskSpec& spec, const std::filesystem::path& root, TaskItems& items) : spec_(spec) {
    const Json prompts = load(spec.longbench.prompts, root, items), limits = load(spec.longbench.limits, root, items);
    const std::string& dataset = spec.longbench.dataset;
    template_ = text_of(column(prompts, dataset, spec.longbench.prompts.file), dataset, spec.longbench.prompts.file);
    check_template(template_, "'" + dataset + "' of " + spec.longbench.prompts.file);
    limit_ = whole_of(column(limits, dataset, spec.longbench.limits.file), dataset, spec.longbench.limits.file);
  }
  GenerationItem item(TaskRow row, int64_t context_chars) const {
    GenerationItem item;
    Json& context = row.columns["context"];
    context = halves(text_of(column(row.columns, "context", row.where), "context", row.where), context_chars);
    item.prompt = render(template_, row.columns, row.where);
    item.stop = spec_.generation.stop;
    item.max_new_tokens = limit_;
    item.answers = texts_of(row, "answers");
    item.all_classes = texts_of(row, "all_classes");
    item.length = whole_of(column(row.columns, "length", row.where), "length", row.where);
    item.first_line = spec_.longbench.first_line;
    item.min_new_tokens = spec_.longbench.minimum_one ? 1 : 0;
    return item;
  }

 private:
  static Json load(const DataFile& data, const std::filesystem::path& root, TaskItems& items) {
    const Json object = load_object(data, root);
    const std::string found = sha256_of_file(place_of(data, root));
    items.data_sha256 += found;
    if (!data.sha256.empty() && found != data.sha256)
      items.warnings.push_back(data.file + " has sha256 " + found.substr(0, 12) + ", the task says " + data.sha256.substr(0, 12));
    return object;
  }
  const TaskSpec& spec_;
  std::string template_;
  int64_t limit_ = 0;
};

GenerationItem generation_item(const TaskSpec& spec, const TaskRow& row, const std::string& prefix) {
  GenerationItem item;
  item.prompt = prefix + render(spec.prompt, row.columns, row.where);
  item.stop = spec.generation.stop;
  item.max_new_tokens = spec.generation.max_new_tokens;
  item.answers = render_list(spec.generation.answers, row.columns, row.where);
  return item;
}

}  // namespace

TaskItems build_items(const TaskSpec& spec, const std::filesystem::path& root, const ItemOptions& options) {
  if (spec.kind == TaskKind::needle) fail<ConfigError>("task", "wanted a task of rows, got '", spec.name, "', whose items need a tokenizer");
  const int64_t shots = options.shots.value_or(spec.few_shot.count);
  if (shots > 0 && spec.few_shot.pool.file.empty())
    fail<ConfigError>("task", "wanted 0 shots of task '", spec.name, "', which names no pool to draw them from, got ", shots);
  TaskRows rows = load_rows(spec.data, root);
  TaskItems items{.data_sha256 = rows.sha256, .warnings = rows.warnings};
  std::unique_ptr<TaskRows> pool;
  if (shots > 0) {
    pool = std::make_unique<TaskRows>(load_rows(spec.few_shot.pool, root));
    items.data_sha256 += pool->sha256;
    items.warnings.insert(items.warnings.end(), pool->warnings.begin(), pool->warnings.end());
  }
  for (TaskRows* each : {&rows, pool.get()})
    if (each != nullptr && !spec.prepare.empty())
      for (TaskRow& row : each->rows) run_step(spec.prepare, row.columns, row.where);

  Prefixes prefixes(spec, rows, pool.get(), shots, options.chat);
  std::unique_ptr<LongBenchPrompts> longbench;
  if (spec.kind == TaskKind::longbench) longbench = std::make_unique<LongBenchPrompts>(spec, root, items);
  const std::size_t count = std::min(rows.rows.size(), static_cast<std::size_t>(options.limit.value_or(INT64_MAX)));
  for (std::size_t i = 0; i < count; ++i) {
    const TaskRow& row = rows.rows[i];
    const std::string prefix = prefixes.next(row), id = id_of(spec, row, i);
    const std::string system = options.chat ? render(spec.description, row.columns, row.where) : "";
    if (spec.kind == TaskKind::multiple_choice || spec.kind == TaskKind::partial_choice) {
      items.choices.push_back(choice_item(spec, row, prefix, options.chat ? "" : spec.delimiter));
      items.choices.back().id = id;
      items.choices.back().system = system;
      continue;
    }
    GenerationItem item = longbench ? longbench->item(row, options.context_chars) : generation_item(spec, row, prefix);
    item.id = id;
    item.system = system;
    item.chat = spec.chat;
    if (item.answers.empty()) fail<CheckpointError>("task", "wanted at least one answer at ", row.where, ", got none");
    items.generations.push_back(std::move(item));
  }
  items.data_sha256 = sha256_hex(items.data_sha256);
  return items;
}

std::string item_text(const ChoiceItem& item) {
  std::string text;
  for (const auto& [context, continuation] : item.requests) text += (text.empty() ? "" : "\x1E") + context + "\x1F" + continuation;
  return text;
}

}  // namespace mla
