// How much the step time hangs on each number that it was computed from: a tornado.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reports/document.hpp"
#include "units/quantity.hpp"

namespace meshsim {

// One number, and the step with it changed while all others stay.
struct Sensitivity {
  std::string name;
  std::string origin;  // "sheet" of the chip, "calibration", or "routing"
  std::string unit, source;
  double value = 0;
  Picoseconds less, more;  // with 10 % less of it, and with 10 % more
  // Where its source states an interval: the step at both ends.
  struct Ends {
    double low = 0, high = 0;
    Picoseconds at_low, at_high;
  };
  std::optional<Ends> interval;

  // How far the step moves, also where both changes move it the same way. `step`: as it is.
  Picoseconds effect(Picoseconds step) const;
  std::optional<Picoseconds> uncertainty(Picoseconds step) const;
};

struct Sensitivities {
  double change = 0.1;
  Picoseconds step_time;
  std::vector<Sensitivity> all;  // by effect, largest first

  // By uncertainty, largest first; those that leave none are not among them.
  std::vector<const Sensitivity*> to_measure() const;
};

// "sensitivity": [...] and "measure_next": [...] of the what-if report.
Json sensitivity_json(const Sensitivities& found);
Json measure_json(const Sensitivities& found);
std::string sensitivity_table(const Sensitivities& found);

}  // namespace meshsim
