#include "moe/tensor.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "moe/bfloat16_rows.hpp"
#include "moe/kept_blocks.hpp"
#include "units/checked.hpp"
#include "units/error.hpp"

namespace meshsim {

std::int64_t element_count(const Shape& shape) {
  for (const std::int64_t size : shape)
    if (size < 0)
      throw Error(ErrorKind::invalid_input,
                  fmt::format("a tensor cannot have the shape {}", to_string(shape)));
  return checked_product(shape, "elements of a tensor");
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

void TensorMemory::allocated(std::int64_t bytes) {
  const std::int64_t live = live_ += bytes;
  std::int64_t peak = peak_;
  while (live > peak && !peak_.compare_exchange_weak(peak, live)) {
  }
}

TensorMemory& tensor_memory() {
  static TensorMemory memory;
  return memory;
}

namespace {

constexpr std::align_val_t vector_unit{64};

KeptBlocks& kept_blocks() {
  static KeptBlocks blocks;
  return blocks;
}

}  // namespace

void* allocate_tensor(std::size_t bytes) {
  void* const memory =
      bytes < KeptBlocks::least ? ::operator new(bytes, vector_unit) : kept_blocks().take(bytes);
  tensor_memory().allocated(static_cast<std::int64_t>(bytes));
  return memory;
}

void free_tensor(void* memory, std::size_t bytes) noexcept {
  tensor_memory().freed(static_cast<std::int64_t>(bytes));
  if (bytes < KeptBlocks::least) {
    ::operator delete(memory, vector_unit);
  } else {
    kept_blocks().give_back(memory, bytes);
  }
}

Tensor<Bf16> to_bf16(const Tensor<float>& tensor) {
  Tensor<Bf16> result(tensor.shape());
  narrow(tensor.data(), tensor.size(), result.data());
  return result;
}

Tensor<float> to_f32(const Tensor<Bf16>& tensor) {
  Tensor<float> result(tensor.shape());
  widen(tensor.data(), tensor.size(), result.data());
  return result;
}

template <class T>
Tensor<T> copied_rows(const Tensor<T>& tensor, std::int64_t first, std::int64_t count) {
  Tensor<T> result({count, tensor.width()});
  std::copy_n(tensor.row(first), count * tensor.width(), result.data());
  return result;
}

template <class T>
void require_finite(const Tensor<T>& tensor, const std::string& name) {
  for (std::int64_t i = 0; i < tensor.size(); ++i) {
    const float value = to_float(tensor.data()[i]);
    if (!std::isfinite(value))
      throw Error(ErrorKind::invalid_input,
                  Diagnostic{{},
                             name,
                             fmt::format("element {} of the tensor {} is {}", i,
                                         to_string(tensor.shape()), value),
                             {}});
  }
}

template <class T>
void require_shape(const Tensor<T>& tensor, const Shape& shape, const std::string& name) {
  if (tensor.shape() == shape) return;
  throw Error(ErrorKind::invalid_input,
              Diagnostic{{},
                         name,
                         fmt::format("must have the shape {} (got {})", to_string(shape),
                                     to_string(tensor.shape())),
                         {}});
}

template Tensor<float> copied_rows(const Tensor<float>&, std::int64_t, std::int64_t);
template Tensor<Bf16> copied_rows(const Tensor<Bf16>&, std::int64_t, std::int64_t);
template void require_finite(const Tensor<float>&, const std::string&);
template void require_finite(const Tensor<Bf16>&, const std::string&);
template void require_shape(const Tensor<float>&, const Shape&, const std::string&);
template void require_shape(const Tensor<Bf16>&, const Shape&, const std::string&);

}  // namespace meshsim
