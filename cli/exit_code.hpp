// The exit codes of the command line: a stable contract.
#pragma once

#include "units/error.hpp"

namespace meshsim {

enum ExitCode {
  exit_done = 0,
  exit_our_bug = 1,
  exit_usage = 2,
  exit_negative_verdict = 3,
  exit_inconclusive = 4,
  exit_invalid_input = 5,
  exit_io = 6,
  exit_resource_limit = 7,
  exit_failed_plans = 8,   // a sweep finished, but some of its plans threw
  exit_interrupted = 130,  // by Ctrl-C; can be resumed
};

constexpr int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::internal: return exit_our_bug;
    case ErrorKind::usage: return exit_usage;
    case ErrorKind::invalid_input: return exit_invalid_input;
    case ErrorKind::io: return exit_io;
    case ErrorKind::resource_limit: return exit_resource_limit;
  }
  return exit_our_bug;
}

}  // namespace meshsim
