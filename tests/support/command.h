// Runs the built program as a user would.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "tests/support/paths.h"

namespace mla::test {

struct Finished {
  int code = -1;  // exit status; 128 + signal when one ended it
  std::string out, err;
};

class Command {
 public:
  // Starts mlaforge with `words` in `folder`. The statistics cache lies in the folder too, so that tests share nothing.
  Command(const fs::path& folder, const std::vector<std::string>& words);
  void interrupt() const;  // SIGINT
  Finished wait();

 private:
  fs::path out_, err_;
  pid_t child_ = -1;
};

inline Finished mlaforge(const fs::path& folder, const std::vector<std::string>& words) { return Command(folder, words).wait(); }

}  // namespace mla::test
