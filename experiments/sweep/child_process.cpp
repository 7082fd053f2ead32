#include "experiments/sweep/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/error.h"

namespace mla {
namespace {

// A file in memory takes any amount of output without a reader, which a pipe would not.
int output_file(const char* name) {
  const int fd = memfd_create(name, MFD_CLOEXEC);
  if (fd < 0) fail<ResourceError>("sweep", "cannot make a file in memory for the output of a job: ", std::strerror(errno));
  return fd;
}

std::string whole_of(int fd) {
  std::string text;
  char part[4096];
  for (off_t at = 0;; at += static_cast<off_t>(sizeof part)) {
    const ssize_t got = pread(fd, part, sizeof part, at);
    if (got <= 0) return text;
    text.append(part, static_cast<std::size_t>(got));
  }
}

// Between fork and exec only calls that are safe there.
[[noreturn]] void become(const char* program, const std::vector<char*>& words, int out, int err, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGINT);
  if (getppid() != parent) _exit(127);
  setpgid(0, 0);  // Ctrl-C on the terminal reaches the parent alone, which passes it on once: a second one would end a job at once
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, 0);
  dup2(out, 1);
  dup2(err, 2);
  execv(program, words.data());
  const char* message = "error: cannot start the program\n";
  [[maybe_unused]] const ssize_t written = write(2, message, std::strlen(message));
  _exit(127);
}

}  // namespace

ChildProcess::ChildProcess(const std::string& program, const std::vector<std::string>& words) : out_(output_file("stdout")), err_(output_file("stderr")) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) become(program.c_str(), arguments, out_, err_, parent);
  if (pid_ > 0) return;
  const int reason = errno;
  close_all();
  fail<ResourceError>("sweep", "cannot start a process for a job: ", std::strerror(reason), "; use fewer --workers");
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0 && !ended()) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close_all();
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), out_(std::exchange(other.out_, -1)), err_(std::exchange(other.err_, -1)), code_(other.code_) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(out_, other.out_);
  std::swap(err_, other.err_);
  std::swap(code_, other.code_);
  return *this;
}

void ChildProcess::interrupt() const {
  if (pid_ > 0) kill(pid_, SIGINT);
}

bool ChildProcess::ended() {
  if (pid_ <= 0) return true;
  int state = 0;
  if (waitpid(pid_, &state, WNOHANG) != pid_) return false;
  pid_ = -1;
  code_ = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  return true;
}

std::string ChildProcess::out() const { return whole_of(out_); }
std::string ChildProcess::err() const { return whole_of(err_); }

void ChildProcess::close_all() {
  for (int* fd : {&out_, &err_})
    if (*fd >= 0) close(std::exchange(*fd, -1));
}

}  // namespace mla
