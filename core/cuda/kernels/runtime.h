// The functions of the table that are about the card and its memory.
#pragma once
#include "core/cuda/table.h"

namespace mla::gpu::runtime {

const char* architectures();
const char* error_text(int code);
int card_count(int* count);
int card(int index, Card* out);
int probe(int index);
int set_card(int index);
int allocate(void** out, size_t bytes);
int release(void* memory);
int copy_in(void* card, const void* host, size_t bytes);
int copy_out(void* host, const void* card, size_t bytes);
int copy(void* to, const void* from, size_t bytes, void* stream);
int synchronize();
int graph_begin(void* stream);
int graph_end(void* stream, void** graph);
int graph_launch(void* graph, void* stream);
int graph_release(void* graph);

}  // namespace mla::gpu::runtime
