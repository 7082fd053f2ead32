// A decoder written as our own folder, with whatever files stand beside the weights and a check before it is called done.
#pragma once
#include "core/checkpoint/fresh_folder.h"
#include "core/model/decoder.h"

namespace mla {

// save_decoder with the tokenizer's own files (tokenizer.json among them) and a check of what was written.
void save_model(const Decoder& decoder, const FolderFiles& files, const Json& conversion, const std::filesystem::path& out,
                const CheckWritten& check = {});

}  // namespace mla
