// Two processes that exchange over the loopback address. The second is forked off before the first has opened anything.
#include "core/distributed/process_group.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <thread>

#include "core/base/error.h"
#include "tests/support/catch.h"
#include "tests/support/free_port.h"
#include "tests/support/no_gloo.h"

using namespace mla;
using Catch::Matchers::Contains;

namespace {

constexpr std::chrono::seconds kTimeout{20};

// Runs `second` as rank 1 in a process of its own and `first` as rank 0 in this one; returns how the other ended.
int in_two(const std::function<void(ProcessGroup&)>& second, const std::function<void(ProcessGroup&)>& first) {
  Launch launch{.rank = 1, .world = 2, .address = "127.0.0.1", .port = test::free_port()};
  const pid_t child = fork();
  if (child == 0) {
    int code = 1;
    try {
      second(*ProcessGroup::join(launch, kTimeout));
      code = 0;
    } catch (const std::exception&) {
      code = 2;
    }
    _exit(code);
  }
  launch.rank = 0;
  first(*ProcessGroup::join(launch, kTimeout));
  int state = 0;
  waitpid(child, &state, 0);
  return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

double value_of(int64_t batch) { return std::exp(-static_cast<double>(batch)) / 3; }  // no short decimal

}  // namespace

TEST_CASE("the first process gets every batch in order with its very bits, each computed once by the process that it belongs to", "[distributed]") {
  if (test::no_gloo()) return;
  constexpr int64_t kBatches = 61;  // many more than may be on their way at once
  const auto all = [](ProcessGroup& group, const std::function<void(int64_t, const std::optional<Json>&)>& see) {
    int computed = 0;
    for (int64_t batch = 0; batch < kBatches; ++batch)
      see(batch, group.share(batch, [&] {
        ++computed;
        return Json{value_of(batch), batch};
      }));
    group.finish();
    return computed;
  };
  int64_t wrong = 0;
  int computed = 0;
  const int code = in_two([&](ProcessGroup& group) { if (all(group, [](int64_t, const std::optional<Json>& got) { if (got) _exit(3); }) != 30) _exit(4); },
                          [&](ProcessGroup& group) { computed = all(group, [&](int64_t batch, const std::optional<Json>& got) { wrong += !got || *got != Json{value_of(batch), batch}; }); });
  CHECK(code == 0);
  CHECK(wrong == 0);
  CHECK(computed == 31);
}

TEST_CASE("what the first process says arrives at the other", "[distributed]") {
  if (test::no_gloo()) return;
  const Json said{{"done", {1, 2, 3}}};
  const int code = in_two([&](ProcessGroup& group) { if (group.from_first({}) != said) _exit(3); group.finish(); }, [&](ProcessGroup& group) { CHECK(group.from_first(said) == said); group.finish(); });
  CHECK(code == 0);
}

TEST_CASE("a batch that fails elsewhere ends the first process with its words and its rank", "[distributed][errors]") {
  if (test::no_gloo()) return;
  const int code = in_two([](ProcessGroup& group) { group.share(1, []() -> Json { throw NumericalError("[perplexity] NaN in window 7"); }); },
                          [](ProcessGroup& group) { CHECK_THROWS_WITH(group.share(1, [] { return Json(); }), Contains("rank 1 of 2: [perplexity] NaN in window 7")); });
  CHECK(code == 2);
}

TEST_CASE("a process that dies is seen at once, long before the timeout", "[distributed][errors]") {
  if (test::no_gloo()) return;
  const auto begin = std::chrono::steady_clock::now();
  const int code = in_two([](ProcessGroup&) { raise(SIGKILL); }, [](ProcessGroup& group) { CHECK_THROWS_WITH(group.share(1, [] { return Json(); }), Contains("rank 1 of 2 is lost")); });
  CHECK(code == 128 + SIGKILL);
  CHECK(std::chrono::steady_clock::now() - begin < kTimeout);
}

TEST_CASE("when the first process is gone the others end too", "[distributed][errors]") {
  if (test::no_gloo()) return;
  const int code = in_two([](ProcessGroup& group) { group.from_first({}); }, [](ProcessGroup&) {});
  CHECK(code == 2);
}
