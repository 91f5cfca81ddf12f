// How far a sweep is, on stderr: a line that renews itself on a terminal, or JSON lines.
#pragma once

#include <chrono>
#include <string>

#include "studies/sweep/sweep.hpp"

namespace meshsim {

class ProgressLine {
 public:
  // "auto", "none" or "json". Throws Error(usage) for another.
  explicit ProgressLine(const std::string& form);

  void show(const SweepProgress& now);  // at most a few times a second
  void finish();                        // leaves no half line

 private:
  using Clock = std::chrono::steady_clock;
  enum class Form { none, line, json } form_ = Form::none;
  Clock::time_point start_ = Clock::now();
  Clock::time_point shown_{};
  bool open_ = false;  // a line is being renewed
};

}  // namespace meshsim
