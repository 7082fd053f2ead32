// Several processes of a division one after another in one: the others leave what they computed, the first takes it.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "core/base/division.h"

namespace mla::test {

using LeftMessages = std::map<int64_t, std::deque<std::vector<std::uint8_t>>>;  // by batch, in the order of the calls

class Divided : public Division {
 public:
  // `left` is common to all ranks of one evaluation; rank 0 comes last.
  Divided(int rank, int world, LeftMessages& left) : rank_(rank), world_(world), left_(left) {}
  bool first() const override { return rank_ == 0; }
  std::optional<Json> share(int64_t index, const std::function<Json()>& compute) override {
    if (index % world_ == rank_) {
      ++computed;
      if (rank_ == 0) return compute();
      left_[index].push_back(Json::to_cbor(compute()));
      return std::nullopt;
    }
    if (rank_ != 0) return std::nullopt;
    const std::vector<std::uint8_t> message = left_.at(index).front();
    left_.at(index).pop_front();
    return Json::from_cbor(message);
  }
  Json from_first(const Json& value) override { return value; }

  int computed = 0;  // batches

 private:
  int rank_, world_;
  LeftMessages& left_;
};

}  // namespace mla::test
