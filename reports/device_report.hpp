// How a step differs from device to device: as JSON beside the plan's, and in a few lines.
#pragma once

#include <string>

#include "reports/document.hpp"
#include "sim/device_classes.hpp"

namespace meshsim {

// Adds device_step, device_spread and device_classes to a plan's report.
void add_devices(const DeviceClasses& devices, const Evaluation& evaluation, Json& report);

std::string device_table(const DeviceClasses& devices, const Evaluation& evaluation);

}  // namespace meshsim
