// Files: mapped for reading, written so that a reader sees the whole file or none.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace mla {

// A whole file mapped read-only. Throws CheckpointError naming the path when it is missing, a folder, or cannot be mapped.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }
  // Tells the kernel that the range's pages may leave memory; they come back when read again.
  void release(std::size_t offset, std::size_t size) const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Whole text file. Throws CheckpointError (missing, folder, larger than max_bytes).
std::string read_text_file(const std::filesystem::path& path, std::size_t max_bytes = std::size_t{4} << 30);

// Writes to a temporary file of the same folder, then fsync, rename, fsync of the folder on commit(). Without commit()
// the temporary file goes and the target stays as it was. Throws ResourceError naming path and reason.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* data, std::size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  std::filesystem::path target_, temporary_;
  int fd_ = -1;
};

// One call for small files.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

// MLAFORGE_CACHE, else $XDG_CACHE_HOME/mlaforge, else ~/.cache/mlaforge; created on demand.
std::filesystem::path cache_root();

}  // namespace mla
