// What the MPI plugin offers to the program that loads it.
#pragma once

#include "ranks/communicator.hpp"

extern "C" {

// Joins the world that mpirun started; nullptr if MPI cannot start.
meshsim::Ranks* meshsim_mpi_start();
// Leaves it; all ranks call this.
void meshsim_mpi_finish(meshsim::Ranks* world);
// Ends all ranks of the world with this exit code.
void meshsim_mpi_abort(int exit_code);
}
