// `meshsim moe ...` is the program meshsim-moe beside this one.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "cli/commands.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

// Returns only by throwing: the process becomes the other program.
[[noreturn]] void become(const std::string& program, const std::vector<std::string>& words) {
  std::vector<std::string> copies{program};
  copies.insert(copies.end(), words.begin(), words.end());
  std::vector<char*> arguments;
  for (std::string& word : copies) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::execv(program.c_str(), arguments.data());
  throw Error(ErrorKind::io, Diagnostic{{program},
                                        {},
                                        fmt::format("cannot be started: {}", std::strerror(errno)),
                                        "meshsim-moe is built and installed beside meshsim"});
}

}  // namespace

void add_moe(CLI::App& app, int& result) {
  CLI::App* command =
      app.add_subcommand("moe", "The functional MoE: `moe check FILE...`, `moe run key=value...`.");
  command->prefix_command();
  command->set_help_flag();  // its help is the other program's
  command->callback([command, &result] {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error) throw Error(ErrorKind::io, "/proc/self/exe cannot be read");
    result = 0;
    become((self.parent_path() / "meshsim-moe").string(), command->remaining());
  });
}

}  // namespace meshsim
