// Tensors: a shape and its elements, row-major, in float32 or bfloat16.
//
// A tensor knows nothing of devices and nothing of time. What it does know is that it occupies
// memory: all tensors of the process are counted, so that a peak can be compared with what the
// formulas say (`tensor_memory`).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "moe/bfloat16.hpp"
#include "units/dtype.hpp"

namespace meshsim {

using Shape = std::vector<std::int64_t>;

std::int64_t element_count(const Shape& shape);  // refuses negative sizes and overflow
std::string to_string(const Shape& shape);       // "[2, 3]"

// Bytes of all tensors that live now, and the most that lived since the last reset.
class TensorMemory {
 public:
  void allocated(std::int64_t bytes);
  void freed(std::int64_t bytes) { live_ -= bytes; }
  std::int64_t live() const { return live_; }
  std::int64_t peak() const { return peak_; }
  void reset_peak() { peak_ = live_.load(); }

 private:
  std::atomic<std::int64_t> live_{0}, peak_{0};
};

TensorMemory& tensor_memory();

// Memory for tensors, aligned for vector units. Blocks of large tensors are kept for the next ones
// (moe/kept_blocks.hpp); what is kept does not count as live.
void* allocate_tensor(std::size_t bytes);
void free_tensor(void* memory, std::size_t bytes) noexcept;

// Counted, and not filled: most tensors are written whole at once.
template <class T>
struct TensorAllocator {
  using value_type = T;

  TensorAllocator() = default;
  template <class U>
  explicit TensorAllocator(const TensorAllocator<U>&) {}

  T* allocate(std::size_t count) { return static_cast<T*>(allocate_tensor(count * sizeof(T))); }
  void deallocate(T* memory, std::size_t count) noexcept { free_tensor(memory, count * sizeof(T)); }
  template <class U, class... Arguments>
  void construct(U* place, Arguments&&... arguments) {
    if constexpr (sizeof...(Arguments) == 0) {
      ::new (static_cast<void*>(place)) U;
    } else {
      ::new (static_cast<void*>(place)) U(std::forward<Arguments>(arguments)...);
    }
  }
  bool operator==(const TensorAllocator&) const { return true; }
};

template <class T>
class Tensor {
 public:
  Tensor() = default;
  // The elements hold anything until they are written.
  explicit Tensor(Shape shape)
      : shape_(std::move(shape)), data_(static_cast<std::size_t>(element_count(shape_))) {}
  Tensor(Shape shape, T value)
      : shape_(std::move(shape)), data_(static_cast<std::size_t>(element_count(shape_)), value) {}

  static Tensor zeros(const Shape& shape) { return Tensor(shape, T{}); }

  const Shape& shape() const { return shape_; }
  std::int64_t size() const { return static_cast<std::int64_t>(data_.size()); }
  bool empty() const { return data_.empty(); }
  std::int64_t width() const { return shape_.back(); }  // of the last dimension
  std::int64_t rows() const { return width() == 0 ? 0 : size() / width(); }

  T* data() { return data_.data(); }
  const T* data() const { return data_.data(); }
  std::span<T> flat() { return data_; }
  std::span<const T> flat() const { return data_; }

  // Row i of the tensor seen as [rows, width].
  T* row(std::int64_t i) { return data() + i * width(); }
  const T* row(std::int64_t i) const { return data() + i * width(); }
  // Matrix e of a tensor [E, m, n].
  T* matrix(std::int64_t e) { return data() + e * shape_[1] * shape_[2]; }
  const T* matrix(std::int64_t e) const { return data() + e * shape_[1] * shape_[2]; }

  // The same elements under another shape.
  Tensor reshaped(const Shape& shape) && {
    Tensor result;
    result.shape_ = shape;
    result.data_ = std::move(data_);
    return result;
  }

 private:
  Shape shape_{0};
  std::vector<T, TensorAllocator<T>> data_;
};

template <class T>
constexpr DType dtype_of = DType::float32;
template <>
inline constexpr DType dtype_of<Bf16> = DType::bfloat16;

Tensor<Bf16> to_bf16(const Tensor<float>& tensor);
Tensor<float> to_f32(const Tensor<Bf16>& tensor);

// Rows [first, first + count) as a tensor [count, width].
template <class T>
Tensor<T> copied_rows(const Tensor<T>& tensor, std::int64_t first, std::int64_t count);

// Throws Error(invalid_input) that names the tensor and the element if one is NaN or infinite.
template <class T>
void require_finite(const Tensor<T>& tensor, const std::string& name);

// Throws Error(invalid_input) that names the tensor unless it has just this shape.
template <class T>
void require_shape(const Tensor<T>& tensor, const Shape& shape, const std::string& name);

}  // namespace meshsim
