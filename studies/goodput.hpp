// How much of the time a job of many chips makes progress, when chips fail.
//
// Failures are a Poisson process: a job of N chips, each with mean time between failures m, has one
// every M = m / N on average. The job computes for tau, writes a checkpoint for C (all chips wait),
// and so on. A failure throws the job back to its last checkpoint; it first takes R to restart, and
// may fail again meanwhile.
//
// The time that a segment of tau takes, with the checkpoint at its end: a try of length
// s = tau + C succeeds with probability e^(-s/M); each failure costs the time until it struck and a
// restart (in which failures start the restart anew). With exponential times between failures the
// expectation is (J. T. Daly, "A higher order estimate of the optimum checkpoint interval for
// restart dumps", Future Generation Computer Systems 22, 2006, eq. 13)
//
//   E(s) = M e^(R/M) (e^(s/M) - 1)                     goodput = tau / E(tau + C)
//
// The best tau makes d/dtau (tau / (e^((tau+C)/M) - 1)) = 0, i.e.
//
//   (1 - tau/M) e^((tau+C)/M) = 1                      or  x e^x = -e^(-1-C/M),  x = tau/M - 1
//
// R drops out. The left side falls in tau from e^(C/M) > 1 at tau = 0 to 0 at tau = M, so that
// there is one root, found here by bisection. For C << M it is Young's sqrt(2 C M) (1974).
//
// Spare slices: a failed slice is replaced at once while a spare is left, else the job waits for
// its repair of mean length P. Slices fail one every M; with S spares the number in repair is taken
// as that of an M/M/1-like supply with unlimited repairmen, Poisson with mean a = P / M, so that a
// failure finds no spare with probability p = P(X >= S) and R becomes R + p P. Without a repair
// time (P = 0) nothing waits.
#pragma once

#include <cstdint>
#include <optional>

namespace meshsim {

// All in seconds.
struct Reliability {
  double mtbf_per_chip = 0;        // > 0
  double checkpoint = 0;           // C > 0
  double restart = 0;              // R >= 0
  std::optional<double> interval;  // tau; else the best one
  double repair = 0;               // P >= 0
  std::int64_t spare_slices = 0;   // S >= 0
};

struct Goodput {
  double ratio = 0;     // useful time over time
  double interval = 0;  // seconds of computation between checkpoints
};

// Of a job on `chips` chips, the spares not counted.
Goodput goodput(const Reliability& reliability, std::int64_t chips);

// The interval that makes the goodput largest: `checkpoint` and `mtbf` (of the job) in seconds.
double best_checkpoint_interval(double checkpoint, double mtbf);

}  // namespace meshsim
