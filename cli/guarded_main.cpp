#include "cli/guarded_main.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <new>

#include "cli/exit_code.hpp"

namespace meshsim {

void say(const std::string& text) {
  const std::string line = text + "\n";
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, line.data(), line.size());
}

int guarded_main(const std::function<int()>& run) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that went away is met where the output is written
  try {
    return run();
  } catch (const Error& error) {
    say(error.what());
    return exit_code(error.kind());
  } catch (const std::bad_alloc&) {
    say("error: out of memory");
    return exit_resource_limit;
  } catch (const std::exception& error) {
    say(
        fmt::format("error: internal: {}\n  hint: this is a bug of meshsim; please report it with "
                    "the command line",
                    error.what()));
    return exit_our_bug;
  }
}

}  // namespace meshsim
