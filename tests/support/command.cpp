#include "tests/support/command.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <stdexcept>

namespace mla::test {
namespace {

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void redirect(const fs::path& path, int to) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  dup2(fd, to);
}

}  // namespace

Command::Command(const fs::path& folder, const std::vector<std::string>& words, const Variables& variables) {
  static int count = 0;
  const std::string name = ".command-" + std::to_string(count++);
  out_ = folder / (name + ".out");
  err_ = folder / (name + ".err");
  const std::string binary = environment("MLAFORGE_BINARY");
  if (binary.empty()) throw std::runtime_error("set MLAFORGE_BINARY to the program under test");
  std::vector<char*> argv{const_cast<char*>(binary.c_str())};
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  child_ = fork();
  if (child_ != 0) return;
  redirect(out_, STDOUT_FILENO);
  redirect(err_, STDERR_FILENO);
  setenv("MLAFORGE_CACHE", (folder / ".cache").c_str(), 1);
  for (const auto& [variable, value] : variables) setenv(variable.c_str(), value.c_str(), 1);
  if (chdir(folder.c_str()) == 0) execv(binary.c_str(), argv.data());
  _exit(127);
}

void Command::send(int signal) const { kill(child_, signal); }
void Command::interrupt() const { send(SIGINT); }

Finished Command::wait() {
  int state = 0;
  waitpid(child_, &state, 0);
  return {WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state), text_of(out_), text_of(err_)};
}

}  // namespace mla::test
