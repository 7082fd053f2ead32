// Turns among the processes of one machine that want to write to one database. SQLite's own lock has no order: a writer that commits and
// begins again at once always finds it free, and those that poll for it starve (16 writers in a loop: a lock not had within 30 s).
// A writer takes the turn, then SQLite's lock, then gives the turn back; so who has just committed waits behind the one that has the turn.
#pragma once
#include <filesystem>

namespace mla {

class WriteTurn {
 public:
  // The lock lies in the user's cache folder under the database's device and inode: the database's own folder stays clean.
  explicit WriteTurn(const std::filesystem::path& database);
  ~WriteTurn();
  WriteTurn(const WriteTurn&) = delete;
  WriteTurn& operator=(const WriteTurn&) = delete;

  // Waits for the turn, at most `seconds`; goes on without it then, and where no lock can be had: it orders writers, it guards nothing.
  void take(double seconds);
  void give();

 private:
  int fd_ = -1;
};

}  // namespace mla
