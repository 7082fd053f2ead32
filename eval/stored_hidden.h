// The original's last hidden states on disk, so that a sweep computes them once: what is compared with it changes, they do not.
#pragma once
#include <filesystem>
#include <string>

#include "eval/language_model.h"

namespace mla {

struct HiddenCacheOptions {
  bool on = true;
  int64_t limit_mb = 4096;  // of the whole folder, 10^6 bytes each
};

// Answers from the cache folder "hidden" what it holds and asks the model for the rest. An entry is one call's tensor, bit for bit, under
// a key of `model_key` (which names everything that decides the model's numbers: weights, dtype, device, threads), the ids and how they
// lie in the batch. When the folder is full, entries that no current process uses leave, the longest unused first; what then does not fit
// is computed and not kept. Calls with caches, prefixes or masks, and hidden states that are not finite, pass through.
class StoredHidden : public LanguageModel {
 public:
  StoredHidden(LanguageModel& model, std::string model_key, const HiddenCacheOptions& options);
  at::Tensor last_hidden(const at::Tensor& ids) override;
  const at::Tensor& head() const override { return model_.head(); }
  double logit_softcap() const override { return model_.logit_softcap(); }
  at::Tensor packed_hidden(const at::Tensor& ids, const std::vector<Segment>& segments) override;

  int64_t found() const { return found_; }        // tokens read from disk
  int64_t computed() const { return computed_; }  // tokens that the model was asked for
  bool full() const { return full_; }             // something did not fit

 private:
  template <class Compute>
  at::Tensor answer(const std::string& call, int64_t tokens, const Compute& compute);

  LanguageModel& model_;
  std::string model_key_;
  HiddenCacheOptions options_;
  std::filesystem::file_time_type started_;
  int64_t found_ = 0, computed_ = 0;
  bool full_ = false;
};

}  // namespace mla
