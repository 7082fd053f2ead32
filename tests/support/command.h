// Runs the built program as a user would.
#pragma once
#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/support/paths.h"

namespace mla::test {

using Words = std::vector<std::string>;  // of a command line
inline Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

struct Finished {
  int code = -1;  // exit status; 128 + signal when one ended it
  std::string out, err;
};

class Command {
 public:
  using Variables = std::vector<std::pair<std::string, std::string>>;
  // Starts mlaforge with `words` in `folder`, and `variables` in its environment. The statistics cache lies in the folder too, so that tests share nothing.
  Command(const fs::path& folder, const std::vector<std::string>& words, const Variables& variables = {});
  void send(int signal) const;
  void interrupt() const;  // SIGINT
  Finished wait();

 private:
  fs::path out_, err_;
  pid_t child_ = -1;
};

inline Finished mlaforge(const fs::path& folder, const std::vector<std::string>& words) { return Command(folder, words).wait(); }

}  // namespace mla::test
