#include "core/base/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <ctime>
#include <fstream>

#include "core/base/error.h"

namespace mla {
namespace {
std::atomic<int> interrupts{0};
static_assert(std::atomic<int>::is_always_lock_free, "the handler may only touch lock-free state");

void on_interrupt(int) {
  if (interrupts.fetch_add(1) > 0) _exit(130);
}
}  // namespace

double peak_rss_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

void install_interrupt_handler() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}
bool interrupted() { return interrupts > 0; }
void request_interrupt() { interrupts = 1; }
void throw_if_interrupted() {
  if (interrupted()) fail<Interrupted>("run", "interrupted");
}

Stopwatch::Stopwatch() : wall_(wall_seconds()), cpu_(cpu_seconds()) {}
double Stopwatch::seconds() const { return wall_seconds() - wall_; }
double Stopwatch::cpu() const { return cpu_seconds() - cpu_; }

}  // namespace mla
