#include "core/base/error.h"
#include "core/model/deepseek_folder.h"

namespace mla {

Decoder load_deepseek(const std::filesystem::path& folder, at::Device device, at::ScalarType dtype) {
  const std::shared_ptr<Checkpoint> checkpoint = Checkpoint::open(folder);
  if (!checkpoint->config().latent)
    fail<CheckpointError>("deepseek", folder.string(), ": wanted a DeepSeek's latent attention, got model_type ", checkpoint->config().architecture);
  return load_decoder(*checkpoint, device, dtype);
}

}  // namespace mla
