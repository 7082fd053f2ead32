// A model written as our own folder, with whatever files stand beside the weights and a check before it is called done.
#pragma once
#include "core/checkpoint/directory_writer.h"
#include "core/model/layer_stream.h"

namespace mla {

// save_decoder with the tokenizer's own files (tokenizer.json among them) and a check of what was written.
void save_model(const LayerStream& model, const FolderFiles& files, const Json& conversion, const std::filesystem::path& out,
                const CheckWritten& check = {}, std::size_t shard_bytes = kShardBytes);

}  // namespace mla
