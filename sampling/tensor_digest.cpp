#include "sampling/tensor_digest.hpp"

#include "core/digest.hpp"
#include "sampling/memory_order.hpp"

namespace slicereduce {

std::uint64_t digest_of_tensors(std::span<const at::Tensor> tensors) {
  Digest digest;
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor numbers = in_memory_order(tensor.cpu());
    digest.add_values(std::span(numbers.const_data_ptr<float>(), static_cast<std::size_t>(numbers.numel())));
  }
  return digest.value();
}

}  // namespace slicereduce
