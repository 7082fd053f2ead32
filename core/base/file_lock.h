// One process at a time, through a lock on a file. The kernel gives a dead holder's lock back.
#pragma once
#include <filesystem>

namespace mla {

// Holds an exclusive lock on `path` (made empty where it is not there) until it is destroyed; then the file goes too. Waits for another
// holder, and says `waiting` on stderr once when it has to; Ctrl-C ends the wait. It saves work, it guards no data: where the file cannot
// be made or locked (a read-only folder, a file system without locks) it holds nothing and raises no error, and one that waited for a
// file which then went may hold it beside one that made it anew.
class FileLock {
 public:
  FileLock(const std::filesystem::path& path, const char* waiting);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  bool held() const { return fd_ >= 0; }
  bool waited() const { return waited_; }

 private:
  void close_file();

  std::filesystem::path path_;
  int fd_ = -1;
  bool waited_ = false;
};

}  // namespace mla
