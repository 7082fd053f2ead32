// Which solved examples stand before an item. Draws are sequential: item k's examples depend on all draws before it, as in
// lm-evaluation-harness, whose sampler is Python's random.Random(seed) and is never seeded again within a task.
#pragma once
#include <map>
#include <vector>

#include "core/base/python_random.h"
#include "eval/task_data.h"

namespace mla {

class FewShotDraws {
 public:
  // `rows` are the task's own, `pool` those that examples come from; both must outlive this. A pool that is the task's own file
  // never gives an item itself (one row more is drawn, and rows equal to the item go).
  FewShotDraws(const TaskSpec& spec, const TaskRows& rows, const TaskRows& pool, int64_t count);
  // Examples of the next item. Throws ConfigError when the pool is too small.
  std::vector<const TaskRow*> next(const TaskRow& item);

 private:
  struct Group {
    std::vector<const TaskRow*> rows;
    PythonRandom random;
  };
  Group& group_of(const TaskRow& item);
  std::vector<const TaskRow*> draw(Group& group, std::size_t count);
  const TaskSpec& spec_;
  const TaskRows& pool_;
  const std::size_t count_;
  const bool own_pool_;
  std::map<std::string, Group> groups_;  // one generator per value of the column `same`, as one task per subject has
};

}  // namespace mla
