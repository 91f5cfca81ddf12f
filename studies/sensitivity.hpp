// How much the step time hangs on each number that it was computed from.
//
//   numbers   the chip's sheet: MXU peak, vector rate, HBM, ICI, DCN and PCIe bandwidth, latency of
//             a hop; every constant of the calibration; the skew of an unbalanced routing
//   effect    the span of the step over the number times 1 - c, 1 and 1 + c, all others as they are
//
// The program of the step stays what it is (only another skew routes other rows), its prices
// change. A share is not held at 1: 10 % more of it is 10 % more of what the chip sustains.
//
// The measurement to make next is that of the number whose own interval moves the step most: its
// effect weighted by how well it is known. A constant whose interval is a point states none.
#pragma once

#include "reports/sensitivity_report.hpp"
#include "sim/evaluation.hpp"

namespace meshsim {

// 0 < change < 1. Throws Error(invalid_input) if the step of `evaluation` is not modelled.
Sensitivities sensitivities(const Evaluation& evaluation, double change = 0.1);

}  // namespace meshsim
