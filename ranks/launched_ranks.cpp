#include "ranks/launched_ranks.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "ranks/mpi/plugin.hpp"
#include "units/error.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

template <class Function>
Function* symbol(void* library, const char* name) {
  return reinterpret_cast<Function*>(::dlsym(library, name));
}

}  // namespace

std::int64_t launched_ranks() {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
    if (const char* const text = std::getenv(variable)) {
      const Parsed<std::int64_t> count = parse_integer(text);
      if (count && count.value() > 0) return count.value();
    }
  return 0;
}

LaunchedWorld::LaunchedWorld() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string plugin = (self.parent_path() / "meshsim-mpi.so").string();
  library_ = ::dlopen(plugin.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library_ == nullptr) {
    const char* const why = ::dlerror();
    throw Error(ErrorKind::io,
                Diagnostic{{plugin},
                           {},
                           fmt::format("cannot be loaded: {}", why == nullptr ? "" : why),
                           "install OpenMPI, or start without mpirun and give ranks=N"});
  }
  world_ = symbol<decltype(meshsim_mpi_start)>(library_, "meshsim_mpi_start")();
  if (world_ == nullptr) throw Error(ErrorKind::io, "MPI does not start");
}

LaunchedWorld::~LaunchedWorld() {
  symbol<decltype(meshsim_mpi_finish)>(library_, "meshsim_mpi_finish")(world_);
}

void LaunchedWorld::abort(int exit_code) {
  symbol<decltype(meshsim_mpi_abort)>(library_, "meshsim_mpi_abort")(exit_code);
  std::_Exit(exit_code);
}

}  // namespace meshsim
