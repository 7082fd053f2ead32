#include "core/base/progress.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace mla {
namespace {
std::atomic<Verbosity> verbosity_now{Verbosity::normal};
std::atomic<int> color_now{-1};  // -1: not yet decided

double seconds_between(std::chrono::steady_clock::time_point a, std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

void print_verb(const char* color, const std::string& verb, const std::string& text) {
  if (color_on()) std::fprintf(stderr, "\033[1;%sm%12s\033[0m %s\n", color, verb.c_str(), text.c_str());
  else std::fprintf(stderr, "%12s %s\n", verb.c_str(), text.c_str());
}
}  // namespace

void set_verbosity(Verbosity verbosity) { verbosity_now = verbosity; }
void set_color(bool on) { color_now = on ? 1 : 0; }
bool color_on() {
  if (color_now < 0) color_now = isatty(STDERR_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr ? 1 : 0;
  return color_now == 1;
}

void status(const std::string& verb, const std::string& text) {
  if (verbosity_now != Verbosity::quiet) print_verb("32", verb, text);
}

void warn(const std::string& text) {
  if (color_on()) std::fprintf(stderr, "\033[1;33mwarning:\033[0m %s\n", text.c_str());
  else std::fprintf(stderr, "warning: %s\n", text.c_str());
}

Progress::Progress(std::string verb, std::string unit, int64_t total)
    : verb_(std::move(verb)), unit_(std::move(unit)), total_(total), start_(std::chrono::steady_clock::now()), drawn_(start_),
      terminal_(isatty(STDERR_FILENO) == 1) {}

// What ended at once and was never drawn needs no line.
Progress::~Progress() {
  const bool worth_a_line = drew_ || seconds_between(start_, std::chrono::steady_clock::now()) > 0.5;
  if (done_ > 0 && worth_a_line) draw(true);
}

void Progress::advance(int64_t done, const std::string& running_value) {
  done_ = done;
  running_ = running_value;
  const double since = seconds_between(drawn_, std::chrono::steady_clock::now());
  if (since > (terminal_ ? 0.2 : 10.0)) draw(false);
}

void Progress::draw(bool last) {
  if (verbosity_now == Verbosity::quiet || total_ == 1) return;  // a single step: the shapes of a conversion are taken from one layer
  drawn_ = std::chrono::steady_clock::now();
  const double elapsed = seconds_between(start_, drawn_), rate = elapsed > 0 ? static_cast<double>(done_) / elapsed : 0;
  char line[256];
  std::snprintf(line, sizeof line, "%lld/%lld %s, %.2f/s, %s %.0f s%s%s", static_cast<long long>(done_),
                static_cast<long long>(total_), unit_.c_str(), rate, last ? "took" : "left",
                last || rate <= 0 ? elapsed : static_cast<double>(total_ - done_) / rate, running_.empty() ? "" : ", ",
                running_.c_str());
  if (terminal_ && drew_) std::fputs("\033[1A\033[2K", stderr);
  print_verb("36", verb_, line);
  drew_ = true;
}

}  // namespace mla
