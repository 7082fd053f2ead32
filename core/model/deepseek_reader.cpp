#include "core/base/error.h"
#include "core/model/deepseek_folder.h"

namespace mla {

LayerStream open_deepseek(const std::filesystem::path& folder, at::Device device, at::ScalarType dtype) {
  const std::shared_ptr<Checkpoint> checkpoint = Checkpoint::open(folder);
  if (!checkpoint->config().latent)
    fail<CheckpointError>("deepseek", folder.string(), ": wanted a DeepSeek's latent attention, got model_type ", checkpoint->config().architecture);
  return open_layers(checkpoint, device, dtype);
}

Decoder load_deepseek(const std::filesystem::path& folder, at::Device device, at::ScalarType dtype) { return open_deepseek(folder, device, dtype).load(); }

}  // namespace mla
