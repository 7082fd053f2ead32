#include "eval/few_shot.h"

#include <algorithm>

#include "core/base/error.h"
#include "eval/task_template.h"

namespace mla {

FewShotDraws::FewShotDraws(const TaskSpec& spec, const TaskRows& rows, const TaskRows& pool, int64_t count)
    : spec_(spec), pool_(pool), count_(static_cast<std::size_t>(count)), own_pool_(rows.path == pool.path) {}

FewShotDraws::Group& FewShotDraws::group_of(const TaskRow& item) {
  const FewShot& rule = spec_.few_shot;
  const auto key_of = [&](const TaskRow& row) { return rule.same.empty() ? "" : text_of(column(row.columns, rule.same, row.where), rule.same, row.where); };
  const std::string key = key_of(item);
  if (const auto found = groups_.find(key); found != groups_.end()) return found->second;
  Group group{{}, PythonRandom(static_cast<uint64_t>(rule.seed))};
  for (const TaskRow& row : pool_.rows)
    if (key_of(row) == key) group.rows.push_back(&row);
  return groups_.emplace(key, std::move(group)).first->second;
}

std::vector<const TaskRow*> FewShotDraws::draw(Group& group, std::size_t count) {
  if (count > group.rows.size())
    fail<ConfigError>("task", "wanted ", count, " rows to draw examples from in ", pool_.path.string(), ", got ", group.rows.size(), "; ask for fewer shots");
  if (spec_.few_shot.sampler == "first") return {group.rows.begin(), group.rows.begin() + static_cast<std::ptrdiff_t>(count)};
  std::vector<const TaskRow*> drawn;
  for (const std::size_t index : group.random.sample(group.rows.size(), count)) drawn.push_back(group.rows[index]);
  return drawn;
}

std::vector<const TaskRow*> FewShotDraws::next(const TaskRow& item) {
  if (count_ == 0) return {};
  Group& group = group_of(item);
  if (!own_pool_) return draw(group, count_);
  const auto is_item = [&](const TaskRow* row) { return row->columns == item.columns; };
  std::vector<const TaskRow*> drawn = draw(group, count_ + 1);
  std::erase_if(drawn, is_item);
  if (drawn.size() < count_) {  // the row is in the pool more than once and was drawn more than once
    Group others{group.rows, group.random};
    std::erase_if(others.rows, is_item);
    drawn = draw(others, count_);
    group.random = others.random;
  }
  drawn.resize(count_);
  return drawn;
}

}  // namespace mla
