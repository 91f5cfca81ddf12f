// For tests of what must be refused.
#pragma once

#include <catch2/catch.hpp>

#include "units/error.hpp"

// The Error that `act` throws; the test fails if there is none.
template <class Act>
meshsim::Error refusal(Act act) {
  try {
    act();
  } catch (const meshsim::Error& error) {
    return error;
  }
  FAIL("was accepted");
  throw;  // not reached: FAIL throws
}
