// That the fake card catches what a card would not forgive, and computes what the CPU does.
#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/device/devices.h"
#include "tests/support/tiny_model.h"

using namespace mla;
using namespace mla::test;
using Catch::Matchers::Contains;

namespace {

// The signal that ends `work` in a process of its own; 0 when it returns.
template <class Work>
int signal_of(const Work& work) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);  // not the test program's handler
    work();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

}  // namespace

TEST_CASE("tensors of the fake card and of the CPU do not mix, numbers aside", "[device][fake]") {
  const at::Tensor host = tiny_inputs(1, 3, 4)[0], there = host.to(fake_card());
  CHECK(there.device() == fake_card());
  CHECK_THROWS_WITH(there.matmul(host.t()), Contains("same device"));
  CHECK_THROWS_WITH(there + host, Contains("same device"));
  CHECK_THROWS_WITH(there.index_select(0, at::tensor({0, 1}, at::kLong)), Contains("same device"));
  CHECK_THROWS_WITH(at::cat({there, host}), Contains("same device"));
  CHECK(at::equal((there * 2 + at::ones({}, at::kFloat)).cpu(), host * 2 + 1));
}

TEST_CASE("the host that reads the fake card's memory ends in SIGSEGV", "[device][fake]") {
  const at::Tensor there = at::ones({4}).to(fake_card()), host = at::ones({4});
  const auto read = [](const at::Tensor& t) { return [p = static_cast<const volatile float*>(t.const_data_ptr())] { return p[0]; }; };
  CHECK(signal_of(read(there)) == SIGSEGV);
  CHECK(signal_of(read(host)) == 0);
}

TEST_CASE("views of the fake card's tensors share their memory", "[device][fake]") {
  at::Tensor there = at::zeros({3, 4}, at::TensorOptions(fake_card()));
  there.narrow(1, 1, 2).select(0, 2).add_(1);
  there[0].copy_(at::arange(4, at::kFloat));
  there.t()[3].fill_(7);
  CHECK(at::equal(there.cpu(), at::tensor({0.f, 1.f, 2.f, 7.f, 0.f, 0.f, 0.f, 7.f, 0.f, 1.f, 1.f, 7.f}).view({3, 4})));
}

TEST_CASE("gradients on the fake card are the CPU's", "[device][fake]") {
  const auto gradient = [](at::Device device) {
    const at::Tensor x = tiny_inputs(1, 6, 8, 1)[0].to(device), w = tiny_inputs(1, 5, 8, 2)[0].to(device).requires_grad_(true);
    at::softmax(at::linear(x, w), -1).square().sum().backward();
    return w.grad().cpu();
  };
  CHECK(max_relative_error(gradient(fake_card()), gradient(at::kCPU)) < kFp32Reordering);
}

TEST_CASE("the fake card counts what lies on it", "[device][fake]") {
  const std::size_t before = fake_card_bytes(true).now;
  {
    const at::Tensor there = at::zeros({1 << 18}, at::TensorOptions(fake_card()));
    CHECK(fake_card_bytes().now == before + (std::size_t{1} << 20));
  }
  CHECK(fake_card_bytes().now == before);
  CHECK(fake_card_bytes().peak == before + (std::size_t{1} << 20));
}
