// Ranks that mpirun has started, through the MPI plugin beside the program.
#pragma once

#include <cstdint>
#include <memory>

#include "ranks/communicator.hpp"

namespace meshsim {

// How many ranks a launcher says it has started (OpenMPI's or PMI's environment); 0: none did.
std::int64_t launched_ranks();

// The world of those ranks. Throws Error(io) if the plugin or MPI itself cannot be loaded.
class LaunchedWorld {
 public:
  LaunchedWorld();
  ~LaunchedWorld();
  LaunchedWorld(const LaunchedWorld&) = delete;
  LaunchedWorld& operator=(const LaunchedWorld&) = delete;

  Ranks& ranks() { return *world_; }
  // Ends every rank with this exit code, and does not return.
  [[noreturn]] void abort(int exit_code);

 private:
  void* library_ = nullptr;
  Ranks* world_ = nullptr;
};

}  // namespace meshsim
