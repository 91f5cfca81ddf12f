// What every program of this folder does around its work: no exception leaves it, each becomes a
// message on stderr and an exit code.
#pragma once

#include <functional>
#include <string>

namespace meshsim {

// One line (or more) to stderr; nothing can be done if that is closed.
void say(const std::string& text);

// The exit code of `run`, or that of the exception it throws.
int guarded_main(const std::function<int()>& run);

}  // namespace meshsim
