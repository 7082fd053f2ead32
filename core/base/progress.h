// Status and progress on stderr, in the manner of cargo: a right-aligned verb, then what is done to what.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace mla {

enum class Verbosity { quiet, normal, verbose };
void set_verbosity(Verbosity verbosity);
void set_color(bool on);
bool color_on();

// "   Converting layer 12/30"
void status(const std::string& verb, const std::string& text);
void warn(const std::string& text);

// A counter with rate, estimate and a running value. Redraws at most five times a second on a terminal, and prints at
// most one line in ten seconds elsewhere.
class Progress {
 public:
  Progress(std::string verb, std::string unit, int64_t total);
  ~Progress();
  void advance(int64_t done, const std::string& running_value = "");

 private:
  void draw(bool last);
  std::string verb_, unit_, running_;
  int64_t total_ = 0, done_ = 0;
  std::chrono::steady_clock::time_point start_, drawn_;
  bool terminal_ = false, drew_ = false;
};

}  // namespace mla
