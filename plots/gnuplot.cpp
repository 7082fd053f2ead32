#include "plots/gnuplot.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <sstream>

#include "core/base/error.h"

namespace mla {
namespace {

constexpr int kNotFound = 127;

// Between fork and exec only what is safe there: no allocation. Without -d a user's ~/.gnuplot would change the figure.
[[noreturn]] void become_gnuplot(const char* folder, const char* name, int error_pipe) {
  dup2(error_pipe, STDERR_FILENO);
  if (const int null = open("/dev/null", O_WRONLY); null >= 0) dup2(null, STDOUT_FILENO);
  if (chdir(folder) == 0) execlp("gnuplot", "gnuplot", "-d", name, static_cast<char*>(nullptr));
  _exit(kNotFound);
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t size = 0; (size = read(fd, buffer.data(), buffer.size())) > 0;) text.append(buffer.data(), static_cast<std::size_t>(size));
  return text;
}

}  // namespace

bool has_gnuplot() {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (access((folder + "/gnuplot").c_str(), X_OK) == 0) return true;
  return false;
}

void run_gnuplot(const std::filesystem::path& script) {
  std::array<int, 2> pipe_ends{};
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) fail<ResourceError>("plot", "cannot start gnuplot: no pipe to be had");
  const std::string folder = script.has_parent_path() ? script.parent_path().string() : ".", name = script.filename().string();
  const pid_t child = fork();
  if (child < 0) fail<ResourceError>("plot", "cannot start gnuplot: no process to be had");
  if (child == 0) become_gnuplot(folder.c_str(), name.c_str(), pipe_ends[1]);
  close(pipe_ends[1]);
  std::string said = read_all(pipe_ends[0]);
  close(pipe_ends[0]);
  int state = 0;
  waitpid(child, &state, 0);
  if (WIFEXITED(state) && WEXITSTATUS(state) == 0) return;
  if (WIFEXITED(state) && WEXITSTATUS(state) == kNotFound)
    fail<ResourceError>("plot", "gnuplot is not installed; install the package gnuplot-nox (data and script are written: ", script.string(), ")");
  for (char& c : said)
    if (c == '\n') c = ' ';
  fail<ResourceError>("plot", "gnuplot failed on ", script.string(), ": ", said);
}

std::string gnuplot_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) quoted += ' ';
    else if (c == '\'') quoted += "''";
    else quoted += c;
  }
  return quoted + '\'';
}

}  // namespace mla
