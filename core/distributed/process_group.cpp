#include "core/distributed/process_group.h"

#include <deque>
#include <map>
#include <string>

#include "core/base/error.h"

#ifdef MLAFORGE_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#endif

namespace mla {

#ifdef MLAFORGE_GLOO
namespace {

constexpr std::size_t kMostPending = 16;  // batches that a process may be ahead of the first one

// The first line, without where in the library it was thrown: "[pair.cc:547] Connection closed by peer" -> "Connection closed by peer".
std::string reason(const std::exception& error) {
  std::string text = error.what();
  text = text.substr(0, text.find('\n'));
  if (text.starts_with("[")) text = text.substr(std::min(text.size(), text.find("] ") + 2));
  return text;
}

std::shared_ptr<::gloo::transport::Device> device_for(const Launch& launch) {
  using Gloo = c10d::ProcessGroupGloo;
  if (launch.address == "localhost" || launch.address.starts_with("127.")) return Gloo::createDeviceForHostname("127.0.0.1");
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  return interface != nullptr && *interface != 0 ? Gloo::createDeviceForInterface(interface) : Gloo::createDefaultDevice();
}

class GlooGroup : public ProcessGroup {
 public:
  GlooGroup(const Launch& launch, std::chrono::seconds timeout) : launch_(launch), timeout_(timeout) {
    try {
      connect();
    } catch (const std::exception& error) {
      fail<ResourceError>("distributed", "wanted ", launch.world, " processes at ", launch.address, ':', launch.port, " within ", timeout.count(), " s, rank ", launch.rank,
                          " did not find them: ", reason(error));
    }
  }

  bool first() const override { return launch_.rank == 0; }

  std::optional<Json> share(int64_t index, const std::function<Json()>& compute) override {
    const int owner = static_cast<int>(index % launch_.world);
    if (owner == launch_.rank) {
      if (first()) return compute();
      send(0, computed(compute));
      return std::nullopt;
    }
    if (!first()) return std::nullopt;
    Json message = receive(owner);
    if (message.contains("error")) fail<Error>("distributed", "rank ", owner, " of ", launch_.world, ": ", message.at("error").get<std::string>());
    return std::move(message.at("result"));
  }

  Json from_first(const Json& value) override {
    if (!first()) return receive(0).at("result");
    for (int rank = 1; rank < launch_.world; ++rank) send(rank, {{"result", value}});
    return value;
  }

  void finish() override {
    from_first("finished");
    while (!pending_.empty()) settle();
  }

 private:
  struct Pending {
    int rank;
    std::vector<at::Tensor> size, bytes;
    c10::intrusive_ptr<c10d::Work> size_sent, bytes_sent;
  };

  void connect() {
    c10d::TCPStoreOptions options;
    options.port = static_cast<std::uint16_t>(launch_.port);
    options.isServer = first() && !launch_.agent_listens;
    options.waitWorkers = false;
    options.timeout = timeout_;
    store_ = c10::make_intrusive<c10d::TCPStore>(launch_.address, options);
    auto gloo = c10d::ProcessGroupGloo::Options::create(timeout_);
    gloo->devices.push_back(device_for(launch_));
    const auto prefixed = c10::make_intrusive<c10d::PrefixStore>("mlaforge/" + std::to_string(launch_.attempt), store_);
    processes_ = c10::make_intrusive<c10d::ProcessGroupGloo>(prefixed, launch_.rank, launch_.world, gloo);
  }

  // A batch that fails here tells the first process why, and goes on failing here.
  Json computed(const std::function<Json()>& compute) {
    try {
      return {{"result", compute()}};
    } catch (const std::exception& error) {
      send(0, {{"error", error.what()}});
      while (!pending_.empty()) settle();
      throw;
    }
  }

  // Returns before it has arrived, unless many are on their way.
  void send(int rank, const Json& message) {
    const std::vector<std::uint8_t> bytes = Json::to_cbor(message);  // doubles as they are, bit for bit
    Pending sent{rank, {at::full({1}, static_cast<int64_t>(bytes.size()), at::kLong)}, {at::empty({static_cast<int64_t>(bytes.size())}, at::kByte)}, {}, {}};
    std::copy(bytes.begin(), bytes.end(), sent.bytes[0].mutable_data_ptr<std::uint8_t>());
    const int tag = next_tag(sent_, rank);
    guarded(rank, [&] {
      sent.size_sent = processes_->send(sent.size, rank, tag);
      sent.bytes_sent = processes_->send(sent.bytes, rank, tag + 1);
    });
    pending_.push_back(std::move(sent));
    while (pending_.size() > kMostPending) settle();
  }

  void settle() {
    const Pending& oldest = pending_.front();
    guarded(oldest.rank, [&] { oldest.size_sent->wait(), oldest.bytes_sent->wait(); });
    pending_.pop_front();
  }

  Json receive(int rank) {
    std::vector<at::Tensor> size{at::zeros({1}, at::kLong)}, bytes;
    const int tag = next_tag(received_, rank);
    guarded(rank, [&] {
      processes_->recv(size, rank, tag)->wait();
      bytes.push_back(at::empty({size[0].item<int64_t>()}, at::kByte));
      processes_->recv(bytes, rank, tag + 1)->wait();
    });
    const std::uint8_t* const begin = bytes[0].const_data_ptr<std::uint8_t>();
    return Json::from_cbor(begin, begin + bytes[0].numel());
  }

  // Two tags for each message between two processes, so that none can be taken for another.
  static int next_tag(std::map<int, int>& messages, int rank) { return 2 * messages[rank]++; }

  template <class Exchange>
  void guarded(int rank, const Exchange& exchange) {
    try {
      exchange();
    } catch (const std::exception& error) {
      fail<ResourceError>("distributed", "rank ", rank, " of ", launch_.world, " is lost: ", reason(error), "; what it and others had finished is kept, the same command goes on with it");
    }
  }

  Launch launch_;
  std::chrono::seconds timeout_;
  c10::intrusive_ptr<c10d::Store> store_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> processes_;
  std::deque<Pending> pending_;
  std::map<int, int> sent_, received_;  // messages, by rank
};

}  // namespace

bool ProcessGroup::available() { return true; }
std::unique_ptr<ProcessGroup> ProcessGroup::join(const Launch& launch, std::chrono::seconds timeout) { return std::make_unique<GlooGroup>(launch, timeout); }

#else

bool ProcessGroup::available() { return false; }
std::unique_ptr<ProcessGroup> ProcessGroup::join(const Launch& launch, std::chrono::seconds) {
  fail<ResourceError>("distributed", "wanted to join ", launch.world, " processes, but this program was built without Gloo's headers; install them (Debian: libgloo-dev) and configure again");
}

#endif

}  // namespace mla
