// A program that runs beside this one; what it prints is kept.
#pragma once
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace mla {

class ChildProcess {
 public:
  // Starts `program` with these words (the first is the name it sees itself under), nothing on stdin. It is told to stop (SIGINT) when
  // this process dies. Throws ResourceError when no process can be made.
  ChildProcess(const std::string& program, const std::vector<std::string>& words);
  ~ChildProcess();  // a child that still runs is killed
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;

  void interrupt() const;
  bool ended();            // without waiting
  int code() const { return code_; }  // after it ended: exit code, or 128 + signal
  std::string out() const, err() const;

 private:
  void close_all();
  pid_t pid_ = -1;
  int out_ = -1, err_ = -1, code_ = -1;
};

}  // namespace mla
