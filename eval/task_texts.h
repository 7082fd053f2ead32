// The files of eval/tasks, compiled in.
#pragma once
#include <vector>

namespace mla {

struct TaskText {
  const char* name;
  const char* text;
};
const std::vector<TaskText>& task_texts();

}  // namespace mla
