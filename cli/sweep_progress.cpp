#include "cli/sweep_progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include "cli/guarded_main.hpp"
#include "units/error.hpp"
#include "units/print.hpp"

namespace meshsim {
namespace {

void put(const std::string& text) {
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

ProgressLine::ProgressLine(const std::string& form) {
  if (form == "json") {
    form_ = Form::json;
  } else if (form == "auto") {
    form_ = ::isatty(STDERR_FILENO) == 1 ? Form::line : Form::none;
  } else if (form != "none") {
    throw Error(ErrorKind::usage, "--progress " + printable(form) + " is not known",
                "auto, none or json");
  }
}

void ProgressLine::show(const SweepProgress& now) {
  if (form_ == Form::none) return;
  constexpr auto pause = std::chrono::milliseconds(250);
  const Clock::time_point time = Clock::now();
  if (time - shown_ < pause && now.done < now.total) return;
  shown_ = time;
  const double elapsed = std::chrono::duration<double>(time - start_).count();
  const double rate = elapsed > 0 ? static_cast<double>(now.done) / elapsed : 0;
  const double left = rate > 0 ? static_cast<double>(now.total - now.done) / rate : 0;
  if (form_ == Form::json) {
    const std::string best =
        now.best == nullptr
            ? "null"
            : fmt::format("{{\"step_time_ps\": {}, \"plan_hash\": \"{}\"}}",
                          now.best->outcome.step_time->value(), now.best->plan_hash);
    put(
        fmt::format("{{\"done\": {}, \"total\": {}, \"plans_per_s\": {:.1f}, \"left_s\": {:.1f}, "
                    "\"best\": {}}}\n",
                    now.done, now.total, rate, left, best));
    return;
  }
  const std::string best = now.best == nullptr
                               ? "none fits yet"
                               : fmt::format("best {} on {} chips",
                                             human(*now.best->outcome.step_time), now.best->chips);
  put(fmt::format("\r\033[K{}/{} plans, {:.0f} plans/s, {:.0f} s left, {}", now.done, now.total,
                  rate, left, best));
  open_ = true;
}

void ProgressLine::finish() {
  if (open_) put("\n");
  open_ = false;
}

}  // namespace meshsim
