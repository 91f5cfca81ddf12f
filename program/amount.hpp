// A size in a program, and where it comes from.
//
//   bytes = sum_i times_i x number_i
//
// The numbers are those of the step's templates and of its state (program/step_numbers.hpp). Two
// plans whose programs differ in nothing but such numbers share one layout: a program whose sizes
// are all traced can be given the numbers of another plan (program/renumber.hpp).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "units/quantity.hpp"

namespace meshsim {

using NumberId = std::int32_t;
inline constexpr NumberId no_number = -1;

struct AmountTerm {
  NumberId number = no_number;
  std::int64_t times = 1;

  bool operator==(const AmountTerm&) const = default;
};

class Amount {
 public:
  Amount() = default;                                     // nothing
  Amount(Bytes bytes) : bytes_(bytes), traced_(false) {}  // nobody knows where it comes from
  Amount(NumberId number, Bytes value) : bytes_(value), terms_{{number, 1}} {}

  // Of a buffer: without terms it is not traced.
  Amount(Bytes bytes, std::vector<AmountTerm> terms)
      : bytes_(bytes), traced_(!terms.empty() || bytes == Bytes()), terms_(std::move(terms)) {}

  Bytes bytes() const { return bytes_; }
  bool traced() const { return traced_; }
  const std::vector<AmountTerm>& terms() const { return terms_; }  // each number once, ascending

  Amount& operator+=(const Amount& other);
  Amount& operator-=(const Amount& other);
  friend Amount operator+(Amount a, const Amount& b) { return a += b; }
  friend Amount operator-(Amount a, const Amount& b) { return a -= b; }
  friend Amount operator*(Amount a, std::int64_t times);

 private:
  void add(const Amount& other, std::int64_t sign);

  Bytes bytes_;
  bool traced_ = true;
  std::vector<AmountTerm> terms_;
};

}  // namespace meshsim
