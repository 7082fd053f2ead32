// What the process itself can tell: times, memory, interruption.
#pragma once
#include <string>

namespace mla {

double peak_rss_mb();      // VmHWM
double cpu_seconds();      // user + system, all threads
double wall_seconds();     // monotonic clock
std::string utc_now();     // 2026-01-31T12:00:00Z
std::string host_name();

// Ctrl-C: the first sets a flag that long loops poll, the second ends the process at once with code 130.
void install_interrupt_handler();
bool interrupted();
void request_interrupt();     // for tests
void throw_if_interrupted();  // throws Interrupted

// Wall and CPU seconds since construction.
class Stopwatch {
 public:
  Stopwatch();
  double seconds() const;
  double cpu() const;

 private:
  double wall_, cpu_;
};

}  // namespace mla
