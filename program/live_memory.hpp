// Memory in program order: which buffers are live at each leaf, and the peak.
//
// XLA assigns buffers statically, so the answer does not depend on timing. A buffer lives from its
// first use to its last, in the order of the tree; the children of a Parallel are all live
// together; a Repeat's body counts once, and a buffer that the body uses but that begins before the
// Repeat, or is used after it, lives through all of it.
#pragma once

#include <string>
#include <vector>

#include "program/step_program.hpp"

namespace meshsim {

struct MemoryPeak {
  Bytes temp;      // live temporary bytes at the peak
  std::string at;  // the leaf that makes it: "csa backward gmm_up"
  std::vector<std::pair<std::string, Bytes>>
      categories;               // at the peak, sorted by name; they sum to temp
  std::vector<Buffer> largest;  // live at the peak, largest first
};

// One point per leaf, in program order.
struct MemoryPoint {
  std::string at;
  Bytes temp;
};

MemoryPeak memory_peak(const StepProgram& program);
// The temp of a compiler that has room: it keeps the spares (Leaf::spares). At least the peak's.
Bytes roomy_temp(const StepProgram& program);
std::vector<MemoryPoint> live_memory(const StepProgram& program);

}  // namespace meshsim
